/** The package as `npm pack` makes it: what a browser, Node and a TypeScript program get. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { root } from '../../house/source-files.ts';
import { envelopes, memoryWriter, pandaSecret, startIngest } from '../ingest-under-test.ts';
import { packClient } from './pack-client.ts';

const folder = mkdtempSync(join(tmpdir(), 'daybook-client-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const installed = packClient(folder);

test('it is less than 5 KB, gzipped, and needs no other package', () => {
  const scripts = readdirSync(join(installed, 'dist')).filter((name) => name.endsWith('.js'));
  const bytes = scripts.map((name) => gzipSync(readFileSync(join(installed, 'dist', name))).length);
  const total = bytes.reduce((sum, each) => sum + each, 0);
  assert.ok(total > 2000 && total < 5000, `${total} bytes`);
  const { dependencies, exports } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  assert.equal(dependencies, undefined);
  assert.deepEqual(Object.keys(exports), ['.']);
  // What a browser cannot find.
  for (const name of scripts) {
    const text = readFileSync(join(installed, 'dist', name), 'utf8');
    for (const [, path] of text.matchAll(/from '([^']+)'/g)) assert.match(path!, /^\.\/[\w-]+\.js$/);
  }
});

test('a Node program imports it by its name, sends, and ends by itself', async (t) => {
  const writer = memoryWriter();
  const ingest = await startIngest({ writer });
  t.after(() => ingest.close());
  writeFileSync(
    join(folder, 'program.mjs'),
    `import { openClient, panda } from 'daybook-client';
    const auth = panda({ secret: '${pandaSecret}' });
    const client = openClient({ url: '${ingest.url}/events', auth, throttleMs: 1, onRefused() { process.exit(9); } });
    client.send({ app: 'a', stage: 's', type: 't', value: true });`,
  );
  const child = await import('node:child_process');
  await new Promise<void>((resolve, reject) => {
    child.execFile(process.execPath, ['program.mjs'], { cwd: folder, timeout: 30_000 }, (error) =>
      error ? reject(error) : resolve(),
    );
  });
  assert.deepEqual(
    envelopes(writer).map(({ data }) => JSON.parse(data).value),
    [true],
  );
});

test('its types hold in a strict TypeScript program, with the types of a browser or of Node', () => {
  writeFileSync(
    join(folder, 'program.ts'),
    `import { type Auth, type Client, cookie, openClient, panda, standardWebhooks } from 'daybook-client';
    const own: Auth = { sign: ({ nowMs }) => ({ 'x-time': String(nowMs) }) };
    for (const auth of [own, cookie(), panda({ secret: 's' }), standardWebhooks({ secret: 'c2VjcmV0' })]) {
      const client: Client = openClient({ url: '/events', auth, onRefused: ({ event, code }) => void [event.type, code] });
      const said: 'taken' | 'full' | 'too_large' | 'closed' = client.send({ app: 'a', stage: 's', type: 't', value: 1 });
      client.send({ specversion: '1.0', source: '/a', type: said, data: { any: [1] } });
      // @ts-expect-error: a value is a number or a boolean
      client.send({ app: 'a', stage: 's', type: 't', value: 'one' });
      // @ts-expect-error: who sends must say what becomes of refused events
      openClient({ url: '/events', auth });
      client.close({ withinMs: 1 }).then((left) => left.length.toFixed());
    }`,
  );
  mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
  for (const name of ['@types/node', 'undici-types']) {
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), {
      recursive: true,
      dereference: true,
    });
  }
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--ignoreConfig'];
  for (const platform of [
    ['--lib', 'es2022,dom', '--types', ''],
    ['--lib', 'es2022', '--types', 'node', '--skipLibCheck'],
  ]) {
    execFileSync(join(root, 'node_modules/.bin/tsc'), [...options, ...platform, 'program.ts'], {
      cwd: folder,
      encoding: 'utf8',
    });
  }
});
