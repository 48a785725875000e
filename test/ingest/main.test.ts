import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { unreadPipe } from '../unread-pipe.ts';
import { readRecords, spawnIngest, startIngestProcess } from './ingest-process.ts';
import { pandaHeaders, post, serverEvent, stripeEvent, stripeHeaders, stripeSecret } from './ingest-under-test.ts';

const directory = await mkdtemp(join(tmpdir(), 'daybook-ingest-main-'));
after(() => rm(directory, { recursive: true }));

const sources = JSON.stringify([
  { name: 'platform', scheme: 'stripe', secrets: [{ env: 'PLATFORM_SECRET' }] },
  { name: 'billing', scheme: 'panda', secrets: ['changeme'] },
]);

test('serve is the default: it receives on the real port it logs, stores, and exits 0 on SIGTERM and on SIGINT', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const data = join(directory, signal);
    const ingest = await startIngestProcess({
      cwd: directory,
      environment: {
        DAYBOOK_SOURCES: sources,
        PLATFORM_SECRET: stripeSecret,
        DAYBOOK_DATA_DIR: data,
        INGEST_PORT: '0',
      },
    });
    const body = JSON.stringify(stripeEvent());
    assert.equal((await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body)).status, 200);
    const event = JSON.stringify(serverEvent());
    assert.equal((await post(`${ingest.url}/events`, pandaHeaders(), event)).status, 201);
    ingest.process.kill(signal);
    const [code] = await ingest.exited;
    assert.equal(code, 0);
    assert.deepEqual((await readRecords(data)).map(({ data: stored }) => stored).sort(), [body, event].sort());
  }
});

test('every problem of the configuration is named at once on stderr, exit 1, before a port is opened', async () => {
  const { code, stderr } = await runIngest([], {
    DAYBOOK_SOURCES: sources,
    INGEST_PORT: 'http',
    INGEST_MAX_BODY_BYTES: '1',
    INGEST_SPEED: '9',
    COMPACTOR_TYPO: 'x',
  });
  assert.equal(code, 1);
  for (const name of ['INGEST_PORT', 'INGEST_MAX_BODY_BYTES', 'INGEST_SPEED', 'COMPACTOR_TYPO', 'PLATFORM_SECRET']) {
    assert.match(stderr, new RegExp(name));
  }
  assert.doesNotMatch(stderr, /listening/);
});

test('without sources it does not start', async () => {
  const { code, stderr } = await runIngest(['serve'], {});
  assert.equal(code, 1);
  assert.match(stderr, /DAYBOOK_SOURCES: is required/);
});

test('an apiKey that cannot be resolved is not a concern of ingest', async () => {
  const withKey = JSON.stringify([
    { name: 'platform', scheme: 'stripe', secrets: ['whsec_x'], apiKey: { env: 'NOT_SET' } },
  ]);
  const ingest = await startIngestProcess({
    cwd: directory,
    environment: {
      DAYBOOK_SOURCES: withKey,
      DAYBOOK_DATA_DIR: join(directory, 'apikey'),
      INGEST_PORT: '0',
    },
  });
  ingest.process.kill('SIGTERM');
  assert.equal((await ingest.exited)[0], 0);
});

test('the .env file of the working directory is read, for secrets too', async () => {
  const own = await mkdtemp(join(directory, 'env-'));
  await writeFile(join(own, '.env'), `DAYBOOK_SOURCES='${sources}'\nINGEST_PORT=0\nPLATFORM_SECRET=x\n`);
  const ingest = await startIngestProcess({ cwd: own, environment: {} });
  ingest.process.kill('SIGTERM');
  assert.equal((await ingest.exited)[0], 0);
});

test('a port that is taken is said, exit 2', async () => {
  const environment = { DAYBOOK_SOURCES: sources, PLATFORM_SECRET: 'x', DAYBOOK_DATA_DIR: join(directory, 'taken') };
  const first = await startIngestProcess({ cwd: directory, environment: { ...environment, INGEST_PORT: '0' } });
  const { code, stderr } = await runIngest([], {
    ...environment,
    INGEST_PORT: String(first.port),
    DAYBOOK_DATA_DIR: join(directory, 'taken-2'),
  });
  assert.equal(code, 2);
  assert.match(stderr, new RegExp(`port ${first.port} is in use \\(EADDRINUSE\\). See INGEST_PORT\n`));
  first.process.kill('SIGTERM');
  await first.exited;
});

test('unknown commands and options are usage errors', async () => {
  for (const command of [['fly'], ['--fast'], ['serve', '--fast'], ['spool'], ['spool', 'fly'], ['keys', 'rotate']]) {
    assert.equal((await runIngest(command, {})).code, 1, command.join(' '));
  }
  const { stderr } = await runIngest(['spol'], {});
  assert.equal(stderr, "daybook-ingest: unknown command 'spol'\nusage: See --help.\n");
  assert.equal((await runIngest(['--help'], {})).code, 0);
});

test('a log that nobody reads stops nothing: events, health, metrics and the stop go on, and what is dropped is counted', {
  timeout: 30_000,
}, async () => {
  const pipe = unreadPipe(join(directory, 'log'));
  const ingest = await startIngestProcess({
    cwd: directory,
    environment: {
      DAYBOOK_SOURCES: sources,
      PLATFORM_SECRET: stripeSecret,
      DAYBOOK_DATA_DIR: join(directory, 'unread'),
      INGEST_PORT: '0',
      LOG_LEVEL: 'trace',
    },
    log: pipe,
  });
  const dropped = async () => {
    const text = await (await fetch(`http://127.0.0.1:${ingest.adminPort}/metrics`)).text();
    return Number(/^daybook_log_dropped_lines_total (\d+)$/m.exec(text)?.[1]);
  };
  assert.equal(await dropped(), 0);
  // Lines of a kilobyte, until more waits than is kept.
  const event = JSON.stringify(
    serverEvent({ id: 'i'.repeat(255), type: 't'.repeat(255), specversion: '1.0', source: 's' }),
  );
  while ((await dropped()) === 0) {
    const sent = Array.from({ length: 50 }, () => post(`${ingest.url}/events`, pandaHeaders(), event));
    for (const { status } of await Promise.all(sent)) assert.equal(status, 201);
  }
  assert.equal((await fetch(`${ingest.url}/healthz`)).status, 200);
  ingest.process.kill('SIGTERM');
  assert.deepEqual(await ingest.exited, [0, null]);
  closeSync(pipe.fd);
});

async function runIngest(commands: readonly string[], environment: Record<string, string>) {
  const child = spawnIngest({ cwd: directory, environment, commands });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, 'close');
  return { code: code as number, stderr };
}
