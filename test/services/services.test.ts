import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { checkSpool, spoolTypes } from '../../ingest/spool/open-spool.ts';
import { storeSchema } from '../../shared/store/stores.ts';
import { streamSchema } from '../../shared/stream/streams.ts';

const program = join(import.meta.dirname, 'services.ts');

test('npm run services prints settings of servers that answer, and stops them all on SIGTERM', async (t) => {
  const install = process.env.REQUIRE_SERVICES === '1' ? {} : { SERVICES_INSTALL: 'no' };
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, ...install },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  const said = text(child.stderr);
  const settings: { name: string; value: { type: string; params: Record<string, unknown> } }[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [, name, value] = /^export ((?:DAYBOOK|INGEST)_\w+)='(.*)'$/.exec(line) ?? [];
    if (name !== undefined) settings.push({ name, value: JSON.parse(value!) });
    if (line.startsWith('Ready')) break;
  }
  child.kill('SIGTERM');
  const [code] = await exited;
  if (settings.length < 4 && process.env.REQUIRE_SERVICES !== '1') return t.skip((await said).trim());
  assert.equal(code, 0, await said);
  assert.deepEqual(settings.map(({ value }) => value.type).toSorted(), ['kafka', 'kinesis', 's3', 'sql']);
  for (const { name, value } of settings) {
    const problems: string[] = [];
    if (name === 'INGEST_SPOOL') checkSpool(value, spoolTypes, problems);
    else (name === 'DAYBOOK_STREAM' ? streamSchema : storeSchema).parse(value);
    assert.deepEqual(problems, []);
    const { brokers, endpoint, url } = value.params as { brokers?: string[]; endpoint?: string; url?: string };
    const { hostname, port } = new URL(url ?? endpoint ?? `http://${brokers![0]}`);
    const socket = connect(Number(port), hostname);
    await assert.rejects(once(socket, 'connect'), { code: 'ECONNREFUSED' }, `${value.type} is stopped`);
  }
});
