/** The files of the sources, changed in all the ways in which files change, under an ingest that runs. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type SourcesRead, watchSources } from '../../ingest/watch-sources.ts';
import { DaybookError } from '../../shared/errors.ts';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import { requireCommand } from '../require-service.ts';
import { type IngestProcess, startIngestProcess } from './ingest-process.ts';
import { type LogLine, pandaHeaders, post, serverEvent, until } from './ingest-under-test.ts';

const directory = fs.mkdtempSync(join(tmpdir(), 'daybook-watch-'));
after(() => fs.rmSync(directory, { recursive: true }));

const event = JSON.stringify(serverEvent());
const sourcesOf = (...secrets: unknown[]) => JSON.stringify([{ name: 'billing', scheme: 'panda', secrets }]);

interface Watched extends IngestProcess {
  readonly log: LogLine[];
  /** Resolves once the message was logged this often since the start. */
  logged(message: RegExp, times?: number): Promise<LogLine>;
  status(secret: string): Promise<number>;
  metric(name: string): Promise<number | undefined>;
}

async function start(t: TestContext, sources: string, environment: Record<string, string> = {}): Promise<Watched> {
  const ingest = await startIngestProcess({
    cwd: directory,
    environment: {
      ...{ DAYBOOK_SOURCES: sources, INGEST_PORT: '0', INGEST_SPOOL: '{"type":"memory"}' },
      ...{ DAYBOOK_DATA_DIR: fs.mkdtempSync(join(directory, 'data-')), ...environment },
    },
  });
  const log: LogLine[] = [];
  const lines = createInterface({ input: ingest.process.stderr });
  lines.on('line', (line) => log.push(JSON.parse(line)));
  t.after(async () => {
    ingest.process.kill('SIGTERM');
    assert.deepEqual(await ingest.exited, [0, null]);
  });
  return {
    ...ingest,
    log,
    async logged(message, times = 1) {
      const found = () => log.filter(({ msg }) => message.test(msg));
      while (found().length < times) await once(lines, 'line');
      return found()[times - 1]!;
    },
    status: async (secret) => (await post(`${ingest.url}/events`, pandaHeaders('/events', secret), event)).status,
    async metric(name) {
      const text = await (await fetch(`http://127.0.0.1:${ingest.adminPort}/metrics`)).text();
      const line = text.split('\n').find((each) => each.startsWith(`${name} `));
      return line === undefined ? undefined : Number(line.slice(name.length));
    },
  };
}

const taken = /^changed sources are taken$/;
const refused = /^changed sources are not taken/;
const lastUsed = (secret: string) =>
  `daybook_ingest_key_last_used_timestamp_seconds{source="billing",keyid="${keyidOf(secret)}"}`;

test('a file that is written in place, or renamed over, is taken without a restart, and each key tells its last use', async (t) => {
  const path = join(directory, 'renamed.json');
  fs.writeFileSync(path, sourcesOf('one'));
  const ingest = await start(t, path);
  assert.equal(await ingest.metric(lastUsed('one')), 0);
  const before = Date.now() / 1000;
  assert.equal(await ingest.status('one'), 201);
  assert.ok((await ingest.metric(lastUsed('one')))! >= before);
  assert.equal(await ingest.metric(lastUsed('two')), undefined);

  fs.writeFileSync(path, sourcesOf('two', 'one'));
  const line = await ingest.logged(taken);
  assert.deepEqual(line.sources, [{ name: 'billing', scheme: 'panda', keyids: ['two', 'one'].map(keyidOf) }]);
  assert.equal(await ingest.metric(lastUsed('two')), 0);
  assert.deepEqual([await ingest.status('one'), await ingest.status('two')], [201, 201]);
  assert.ok((await ingest.metric(lastUsed('two')))! >= before);

  fs.writeFileSync(`${path}~`, sourcesOf('two'));
  fs.renameSync(`${path}~`, path);
  await ingest.logged(taken, 2);
  assert.deepEqual([await ingest.status('one'), await ingest.status('two')], [403, 201]);
  assert.equal(await ingest.metric('daybook_ingest_sources_changes_total{outcome="taken"}'), 2);
  assert.equal(await ingest.metric('daybook_ingest_sources_changes_total{outcome="refused"}'), 0);
});

test('a mounted volume of Kubernetes, whose link moves to another folder, is taken: sources and secrets together', async (t) => {
  const volume = fs.mkdtempSync(join(directory, 'volume-'));
  const fill = (name: string, secrets: readonly string[]) => {
    fs.mkdirSync(join(volume, name));
    const references = secrets.map((secret) => ({ file: join(volume, secret) }));
    fs.writeFileSync(join(volume, name, 'sources.json'), sourcesOf(...references));
    for (const secret of secrets) fs.writeFileSync(join(volume, name, secret), `${secret}\n`);
  };
  // As kubelet's atomic writer does: names lead through ..data, which is renamed over.
  const point = (name: string) => {
    fs.symlinkSync(name, join(volume, '..data_tmp'));
    fs.renameSync(join(volume, '..data_tmp'), join(volume, '..data'));
  };
  fill('..first', ['one']);
  point('..first');
  for (const name of ['sources.json', 'one', 'two']) fs.symlinkSync(join('..data', name), join(volume, name));
  const ingest = await start(t, join(volume, 'sources.json'));
  assert.deepEqual([await ingest.status('one'), await ingest.status('two')], [201, 403]);
  fill('..second', ['two']);
  point('..second');
  await ingest.logged(taken);
  assert.deepEqual([await ingest.status('one'), await ingest.status('two')], [403, 201]);
});

test('a secret in a file of its own is taken when that changes, also where the sources are not a file', async (t) => {
  const file = join(directory, 'secret');
  fs.writeFileSync(file, 'one');
  const ingest = await start(t, sourcesOf({ file }));
  fs.writeFileSync(file, 'two');
  await ingest.logged(taken);
  assert.deepEqual([await ingest.status('one'), await ingest.status('two')], [403, 201]);
});

test('a broken file changes nothing: it is said with its place, counted, and over once it is mended', async (t) => {
  const path = join(directory, 'broken.json');
  fs.writeFileSync(path, sourcesOf('one'));
  const ingest = await start(t, path);
  const secret = join(directory, 'not-there-yet');
  const broken: [string, RegExp][] = [
    [`[\n  {"name": "billing",}\n]`, /^DAYBOOK_SOURCES: the file \S*broken\.json is not JSON: see line 2, column 22$/],
    [
      `[{"name":"billing","scheme":"panda","secrets":[]}]`,
      /^DAYBOOK_SOURCES\[0\]\.secrets: needs at least one secret$/,
    ],
    ['', /is not JSON/],
    [
      sourcesOf({ file: secret }, { env: 'NOT_SET' }),
      /^DAYBOOK_SOURCES\[0\]\.secrets\[0\]: the file \S* cannot be read/,
    ],
  ];
  for (const [index, [text, problem]] of broken.entries()) {
    fs.writeFileSync(path, text);
    ingest.process.kill('SIGHUP');
    const { level, code, problems, hint } = await ingest.logged(refused, index + 1);
    assert.deepEqual([level, code, typeof hint], ['error', 'configuration_invalid', 'string']);
    assert.match((problems as string[])[0]!, problem);
    assert.equal(await ingest.status('one'), 201);
  }
  fs.rmSync(path);
  await ingest.logged(refused, broken.length + 1);
  assert.equal(await ingest.status('one'), 201);
  assert.equal(await ingest.metric('daybook_ingest_sources_sound'), 0);
  assert.equal(await ingest.metric('daybook_ingest_sources_changes_total{outcome="refused"}'), broken.length + 1);
  assert.equal(await ingest.metric('daybook_ingest_sources_changes_total{outcome="taken"}'), 0);

  fs.writeFileSync(path, sourcesOf('one'));
  await ingest.logged(/^the sources are sound again$/);
  assert.equal(await ingest.metric('daybook_ingest_sources_sound'), 1);

  // What is missing may come later, by itself.
  fs.writeFileSync(path, sourcesOf({ file: secret }));
  await ingest.logged(refused, broken.length + 2);
  fs.writeFileSync(secret, 'two');
  await ingest.logged(taken);
  assert.deepEqual([await ingest.status('one'), await ingest.status('two')], [403, 201]);
  assert.equal(await ingest.metric('daybook_ingest_sources_sound'), 1);
});

test('SIGHUP has them read at once, says so where nothing changed, and ends nothing', async (t) => {
  const path = join(directory, 'hup.json');
  fs.writeFileSync(path, sourcesOf('one'));
  const ingest = await start(t, path);
  ingest.process.kill('SIGHUP');
  await ingest.logged(/^the sources are unchanged$/);
  fs.writeFileSync(path, sourcesOf('two'));
  ingest.process.kill('SIGHUP');
  await ingest.logged(taken);
  assert.deepEqual([await ingest.status('one'), await ingest.status('two')], [403, 201]);
  fs.writeFileSync(path, '[');
  ingest.process.kill('SIGHUP');
  await ingest.logged(refused);
  assert.equal(await ingest.status('two'), 201);

  const inline = await start(t, sourcesOf('one'));
  inline.process.kill('SIGHUP');
  await inline.logged(/^the sources are unchanged$/);
});

/** A watch over files of this test, whose reading is the test's own. */
function watch(t: TestContext, files: readonly string[], everyMs = 1) {
  const seen = { reads: 0, taken: 0, told: [] as boolean[], log: [] as string[] };
  let answer: SourcesRead['sources'] = [];
  const note = (...line: unknown[]) => void seen.log.push(String(line.at(-1)));
  const watching = watchSources({
    ...{ files, sources: [], everyMs, log: { info: note, warn: note, error: note, debug: note } as never },
    read: () => {
      seen.reads++;
      return { files, sources: answer };
    },
    take: () => void seen.taken++,
    told: (isSound) => void seen.told.push(isSound),
  });
  t.after(() => watching.close());
  const say = (sources: SourcesRead['sources']) => {
    answer = sources;
  };
  return { ...watching, seen, say };
}

test('what changed between the reading of the start and the first look is found', async (t) => {
  const path = join(directory, 'early');
  fs.writeFileSync(path, 'x');
  const { seen, say } = watch(t, [path]);
  say(new DaybookError('configuration_invalid', { detail: 'changed' }));
  await until(() => seen.reads > 0);
  assert.deepEqual([seen.told, seen.taken], [[false], 0]);
});

test('a file that is still being written is left alone until two looks see the same, and the same is read once', async (t) => {
  const path = join(directory, 'growing');
  fs.writeFileSync(path, '');
  const { seen, lookNow } = watch(t, [path]);
  await until(() => seen.reads === 1);
  const before = fs.promises.readFile;
  let looks = 0;
  // Something more is there at each look.
  t.mock.method(fs.promises, 'readFile', async (...parameters: Parameters<typeof before>) => {
    if (looks < 50) fs.appendFileSync(path, '.');
    looks++;
    return before(...parameters);
  });
  await until(() => looks === 50);
  assert.equal(seen.reads, 1);
  await until(() => looks > 60);
  assert.equal(seen.reads, 2);
  await lookNow();
  assert.deepEqual([seen.reads, seen.taken, seen.told.length], [3, 0, 0]);
});

test('a pipe is not read again: it would be empty, or keep ingest waiting', async (t) => {
  const path = join(directory, 'pipe');
  execFileSync('mkfifo', [path]);
  const { seen, lookNow } = watch(t, [path]);
  await lookNow();
  assert.equal(seen.reads, 0);
  assert.match(seen.log.join(), /^the sources are not in files that can be read again/);
});

test('started on a terminal it ends when that is closed, and not by a SIGHUP before', {
  timeout: 60_000,
}, async (t) => {
  if (!requireCommand(t, 'script')) return;
  const path = join(directory, 'terminal.json');
  fs.writeFileSync(path, sourcesOf('one'));
  const pidFile = join(directory, 'pid');
  const main = fileURLToPath(new URL('../../ingest/main.ts', import.meta.url));
  const command = `echo $$ > ${pidFile}; exec ${process.execPath} ${main} serve`;
  const env = { PATH: process.env.PATH, SHELL: '/bin/sh', TERM: 'dumb', DAYBOOK_SOURCES: path };
  const terminal = spawn('script', ['-qefc', command, '/dev/null'], {
    cwd: directory,
    env: {
      ...{ ...env, INGEST_PORT: '0', INGEST_ADMIN_PORT: '0', LOG_LEVEL: 'info' },
      ...{ INGEST_SPOOL: '{"type":"memory"}', DAYBOOK_DATA_DIR: join(directory, 'terminal') },
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  terminal.stdout.setEncoding('utf8').on('data', (text) => {
    shown += text;
  });
  const shows = async (text: string) => {
    while (!shown.includes(text)) await once(terminal.stdout, 'data');
  };
  await shows('"listening"');
  const pid = Number(fs.readFileSync(pidFile, 'utf8'));
  t.after(() => isAlive(pid) && process.kill(pid, 'SIGKILL'));
  process.kill(pid, 'SIGHUP');
  await shows('the sources are unchanged');
  terminal.kill('SIGKILL');
  await until(() => !isAlive(pid));
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
