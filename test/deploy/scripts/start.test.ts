import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { makeDevelopmentFiles } from '../../../deploy/scripts/development-values.ts';
import { stripeEvents } from '../../stripe/events.ts';
import { sendWebhook } from '../../stripe/webhook-sender.ts';

const script = new URL('../../../deploy/scripts/start.ts', import.meta.url).pathname;
const folder = await mkdtemp(join(tmpdir(), 'daybook-start-'));
const running = new Set<ChildProcess>();
after(async () => {
  for (const child of running) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

const ingestListens = /"program":"ingest".*"listening"/;

interface Started {
  readonly child: ChildProcess;
  /** Resolves with the first line of stderr that the pattern matches; rejects with all of it where none comes. */
  line(pattern: RegExp): Promise<string>;
  stderr(): string;
}

function start(dataDirectory: string, environment: Record<string, string> = {}): Started {
  const child = spawn(process.execPath, [script], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      DAYBOOK_DATA_DIR: dataDirectory,
      INGEST_PORT: '0',
      INGEST_ADMIN_PORT: '0',
      COMPACTOR_PORT: '0',
      COMPACTOR_ADMIN_PORT: '0',
      // The hour has passed whenever this runs: the night comes at the start.
      COMPACTOR_RUN_HOUR_UTC: '0',
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  running.add(child);
  const lines: string[] = [];
  const reader = createInterface({ input: child.stderr! });
  reader.on('line', (line) => void lines.push(line));
  const ended = once(child, 'close').then(() => void running.delete(child));
  return {
    child,
    stderr: () => lines.join('\n'),
    async line(pattern) {
      for (;;) {
        const found = lines.find((line) => pattern.test(line));
        if (found !== undefined) return found;
        if (!running.has(child)) throw new Error(`ended without ${pattern}:\n${lines.join('\n')}`);
        await Promise.race([once(reader, 'line'), ended]);
      }
    },
  };
}

async function stop({ child, stderr }: Started): Promise<void> {
  const startedMs = performance.now();
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  assert.deepEqual(await exit, [0, null], stderr());
  // Nothing is in flight: the 9.5 s after which children are cut are not used up.
  assert.ok(performance.now() - startedMs < 5_000);
}

test('a start without any setting takes a signed webhook, runs a night, and stops with exit 0', async () => {
  const data = join(folder, 'first');
  const started = start(data);
  const { port } = JSON.parse(await started.line(ingestListens));
  assert.match(started.stderr(), /DEVELOPMENT VALUES/);
  const development = join(data, 'development');
  assert.deepEqual((await readdir(development)).sort(), [
    'identity.txt',
    'signing-key.pem',
    'sources.json',
    'stream-key.txt',
    'verifying-key.pem',
  ]);
  assert.equal((await stat(development)).mode & 0o777, 0o700);
  for (const name of await readdir(development))
    assert.equal((await stat(join(development, name))).mode & 0o777, 0o600);

  const [{ secrets }] = JSON.parse(await readFile(join(development, 'sources.json'), 'utf8'));
  const nowSeconds = Math.floor(Date.now() / 1000);
  const [event] = stripeEvents({ count: 1, seed: 'start', fromSeconds: nowSeconds - 5, toSeconds: nowSeconds });
  const url = `http://127.0.0.1:${port}/webhooks/platform`;
  assert.equal((await sendWebhook({ url, body: event!.text, secrets })).status, 200);

  const { exitCode } = JSON.parse(await started.line(/"job ended"/));
  assert.equal(exitCode, 0, started.stderr());
  for (const secret of [...secrets, 'AGE-SECRET-KEY-1', 'PRIVATE KEY']) assert.ok(!started.stderr().includes(secret));
  await stop(started);
});

test('a second start keeps the development keys, and a run in flight does not hold up the stop', async () => {
  const data = join(folder, 'first');
  const texts = async () =>
    Promise.all(
      (await readdir(join(data, 'development'))).map((name) => readFile(join(data, 'development', name), 'utf8')),
    );
  const before = await texts();
  const started = start(data);
  await started.line(ingestListens);
  await stop(started);
  assert.deepEqual(await texts(), before);
});

test('what is set is used, and with all of it set no development value is made', async () => {
  const data = join(folder, 'second');
  const made = await makeDevelopmentFiles(join(folder, 'made'));
  const started = start(data, {
    DAYBOOK_SOURCES: made.sources,
    DAYBOOK_STREAM_KEY: 'k'.repeat(32),
    COMPACTOR_RECIPIENTS: made.recipient,
    COMPACTOR_SIGNING_KEY_FILE: made.signingKey,
    COMPACTOR_ENABLED: 'false',
  });
  await started.line(ingestListens);
  await started.line(/"program":"compactor".*"listening"/);
  assert.doesNotMatch(started.stderr(), /DEVELOPMENT|job started/);
  assert.ok(!(await readdir(data)).includes('development'));
  await stop(started);
});

test('a wrong setting of either half is named before anything runs, exit 1', async () => {
  const started = start(join(folder, 'third'), { COMPACTOR_RUN_HOUR_UTC: '24', INGEST_PORTT: '1' });
  const [exitCode] = await once(started.child, 'close');
  assert.equal(exitCode, 1);
  assert.match(started.stderr(), /COMPACTOR_RUN_HOUR_UTC/);
  assert.match(started.stderr(), /INGEST_PORTT/);
});

test('where one half cannot run, the start ends the other and exits with its code', async () => {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  for (const name of ['INGEST_PORT', 'COMPACTOR_PORT']) {
    const started = start(join(folder, name), { [name]: String(port), COMPACTOR_ENABLED: 'false' });
    const [exitCode] = await once(started.child, 'close');
    assert.equal(exitCode, 2, started.stderr());
    assert.match(started.stderr(), new RegExp(`127.0.0.1:${port}`));
  }
});
