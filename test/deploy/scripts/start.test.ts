import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { makeDevelopmentFiles } from '../../../deploy/scripts/development-values.ts';
import { requireCommand } from '../../require-service.ts';
import { stripeEvents } from '../../stripe/events.ts';
import { sendWebhook } from '../../stripe/webhook-sender.ts';
import { runOnTerminal } from '../../terminal.ts';

const script = new URL('../../../deploy/scripts/start.ts', import.meta.url).pathname;
// With a space: what is printed must be quoted.
const folder = await mkdtemp(join(tmpdir(), 'daybook start-'));
const running = new Set<ChildProcess>();
after(async () => {
  // By SIGTERM, which ends what they started too.
  for (const child of running) child.kill('SIGTERM');
  await Promise.all([...running].map((child) => once(child, 'close')));
  await rm(folder, { recursive: true, force: true });
});

const ingestListens = /"program":"ingest".*"listening"/;

interface Started {
  readonly child: ChildProcess;
  /** Resolves with the first line of stderr that the pattern matches; rejects with all of it where none comes. */
  line(pattern: RegExp): Promise<string>;
  stderr(): string;
  /** What is printed when both programs listen. */
  samples(): Promise<string>;
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
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const lines: string[] = [];
  const reader = createInterface({ input: child.stderr! });
  reader.on('line', (line) => void lines.push(line));
  let printed = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  const ended = once(child, 'close').then(() => void running.delete(child));
  return {
    child,
    stderr: () => lines.join('\n'),
    async samples() {
      while (!printed.endsWith('\n\n')) {
        if (!running.has(child)) throw new Error(`ended without samples:\n${lines.join('\n')}`);
        await Promise.race([once(child.stdout!, 'data'), ended]);
      }
      return printed;
    },
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

for (const shell of ['bash --norc --noprofile -i', 'dash -i']) {
  test(`the printed requests work as pasted into a terminal of ${shell}, and show no secret`, async (t) => {
    for (const command of [shell.split(' ')[0]!, 'curl', 'openssl']) if (!requireCommand(t, command)) return;
    const data = join(folder, 'first');
    const started = start(data, { COMPACTOR_ENABLED: 'false' });
    const printed = await started.samples();
    const [{ secrets: stripe }, { secrets: panda }] = JSON.parse(
      await readFile(join(data, 'development/sources.json'), 'utf8'),
    );
    for (const secret of [...stripe, ...panda]) assert.ok(!printed.includes(secret));
    const lines = printed.split('\n').filter((line) => line.startsWith('  '));
    const text = `${printed}${started.stderr()}`.split('\n').filter((line) => !line.startsWith('{"level"'));
    for (const line of text) assert.ok(line.replaceAll(data, 'data').length <= 100, line);
    const outcome = await runOnTerminal(t, shell.split(' '), {
      env: { PS1: 'next> ' },
      cwd: folder,
      typed: [['next> ', `${lines.join('\n')}\nexit\n`]],
    });
    if (outcome === undefined) return;
    // Some shells prompt for each line that was pasted before they run the first.
    assert.match(outcome.shown, /^(?:(?:next)?> )*\{"received":true\}\r$/m);
    assert.match(outcome.shown, /^(?:(?:next)?> )*\{"status":"ok","accepted":1\}\r$/m);
    assert.match(outcome.shown, /^\d{4}-\d\d-\d\d +billing +\d+ +\d+ +archived by a run after /m);
    assert.match(outcome.shown, /^\d{4}-\d\d-\d\d +platform +\d+ +\d+ +archived by a run after /m);
    assert.equal(outcome.code, 0, outcome.shown);
    await stop(started);
  });
}

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
  // Secrets that somebody set are not for us to use.
  const printed = await started.samples();
  assert.doesNotMatch(printed, /secret|COMPACTOR_VERIFYING_KEYS/);
  assert.match(printed, /^ {2}node compactor\/main.ts run --today$/m);
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

test('where the start is killed, both halves end as at SIGTERM', async () => {
  const { child, line, stderr } = start(join(folder, 'killed'), { COMPACTOR_ENABLED: 'false' });
  await line(ingestListens);
  await line(/"program":"compactor".*"listening"/);
  child.kill('SIGKILL');
  // Not before the two have closed its stderr.
  await once(child, 'close');
  for (const program of ['ingest', 'compactor']) {
    assert.match(stderr(), new RegExp(`"program":"${program}".*"msg":"stopped"`));
  }
});
