import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readSecretsFile } from '../../compactor/verify/check-delivery.ts';
import { readEnvironment, readSettings, type SettingName, settings } from '../../shared/config.ts';
import { DaybookError } from '../../shared/errors.ts';
import { nearestName } from '../../shared/setting-names.ts';

const directory = mkdtempSync(join(tmpdir(), 'daybook-config-'));
after(() => rmSync(directory, { recursive: true }));

const sources = '[{"name":"platform","scheme":"stripe","secrets":["whsec_x"]}]';
const fileWith = (name: string, content: string | Buffer) => {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
};

/** The lines of the refusal; none where the settings are sound. */
function problemsOf(environment: Record<string, string>, names: readonly SettingName[] = ['DAYBOOK_SOURCES']) {
  try {
    readSettings(readEnvironment(environment, directory), names);
    return [];
  } catch (error) {
    assert.ok(error instanceof DaybookError && error.code === 'configuration_invalid');
    return error.message.split('\n');
  }
}

test("what Kubernetes sets for a Service is not a setting, whatever the Service's name: the default holds, or .env", () => {
  const ports = (Object.keys(settings) as SettingName[]).filter((name) => name.endsWith('_PORT'));
  assert.equal(ports.length, 4);
  const services = [...ports.map((name) => name.slice(0, -'_PORT'.length)), 'DAYBOOK', 'INGEST_PUBLISH'];
  for (const scheme of ['tcp', 'udp', 'sctp']) {
    const environment = Object.fromEntries(
      services.flatMap((service) => [
        [`${service}_PORT`, `${scheme}://10.96.7.7:8080`],
        [`${service}_SERVICE_HOST`, '10.96.7.7'],
        [`${service}_SERVICE_PORT`, '8080'],
        [`${service}_SERVICE_PORT_HTTP`, '8080'],
        [`${service}_PORT_8080_TCP`, `${scheme}://10.96.7.7:8080`],
        [`${service}_PORT_8080_TCP_ADDR`, '10.96.7.7'],
      ]),
    );
    const read = readSettings(readEnvironment(environment, directory), ports) as Record<string, unknown>;
    assert.deepEqual(
      ports.map((name) => read[name]),
      ports.map((name) => Number(settings[name].default)),
    );
  }
  const own = mkdtempSync(join(directory, 'env-'));
  writeFileSync(join(own, '.env'), 'INGEST_PORT=9090\n');
  const environment = readEnvironment({ INGEST_PORT: 'tcp://10.96.7.7:8080' }, own);
  assert.equal(readSettings(environment, ['INGEST_PORT']).INGEST_PORT, 9090);
  // Only the address of a Service is passed over.
  assert.deepEqual(problemsOf({ INGEST_PORT: 'http://10.96.7.7' }, ['INGEST_PORT']).length, 1);
});

test('a byte order mark is left out of every file and value that is read as text', () => {
  const utf16 = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(sources, 'utf16le')]);
  for (const content of [`\ufeff${sources}`, utf16, Buffer.from(utf16).swap16()]) {
    assert.deepEqual(problemsOf({ DAYBOOK_SOURCES: fileWith('sources.json', content) }), []);
    assert.ok(readSecretsFile(fileWith('secrets.json', content), {}).has('platform'));
  }
  assert.deepEqual(problemsOf({ DAYBOOK_SOURCES: `\ufeff${sources}` }), []);
  assert.deepEqual(problemsOf({ DAYBOOK_SOURCES_FILE: fileWith('sources.json', `\ufeff${sources}`) }), []);
  const stream = fileWith('stream.json', '\ufeff{"type":"embedded"}');
  assert.deepEqual(problemsOf({ DAYBOOK_STREAM_FILE: stream }, ['DAYBOOK_STREAM']), []);
  const own = mkdtempSync(join(directory, 'env-'));
  writeFileSync(join(own, '.env'), '\ufeffLOG_LEVEL=debug\n');
  assert.equal(readSettings(readEnvironment({}, own), ['LOG_LEVEL']).LOG_LEVEL, 'debug');
});

test('every problem of a source is named at once, beside those of others, and only schemes that exist are offered', () => {
  const text = JSON.stringify([
    { name: 'Plat form', scheme: 'strip', secret: 'x' },
    { name: 'a', scheme: 'panda', secrets: [] },
    { name: 'a', scheme: 'gitlab', secrets: [{ fil: 'x' }] },
  ]);
  const problems = problemsOf({ DAYBOOK_SOURCES: text });
  for (const expected of [
    /^DAYBOOK_SOURCES\[0\]\.name: must match/,
    /^DAYBOOK_SOURCES\[0\]\.scheme: must be stripe, panda, .* others are not available/,
    /^DAYBOOK_SOURCES\[0\]\.secrets: /,
    /^DAYBOOK_SOURCES\[0\]: .*"secret"/,
    /^DAYBOOK_SOURCES\[1\]\.secrets: needs at least one secret/,
    /^DAYBOOK_SOURCES\[2\]\.name: is the name of source \[1\] too/,
    /^DAYBOOK_SOURCES\[2\]\.scheme: must be stripe, panda, .* others are not available/,
    /^DAYBOOK_SOURCES\[2\]\.secrets\[0\]: must be a text .*\{"file":"path"\}/,
  ]) {
    assert.equal(problems.filter((problem) => expected.test(problem)).length, 1, `${expected}\n${problems.join('\n')}`);
  }
  assert.equal(problems.length, 8, problems.join('\n'));
  for (const value of ['[null]', '[1]', '[[]]', '[{"scheme":"constructor"}]', '[{"scheme":null}]']) {
    assert.ok(problemsOf({ DAYBOOK_SOURCES: value }).length > 0, value);
  }
});

test('a rule between two members is named beside the problems of others', () => {
  const store = JSON.stringify({ type: 's3', params: { bucket: 'B', kmsKeyId: 'x' } });
  assert.deepEqual(
    problemsOf({ DAYBOOK_STORE: store }, ['DAYBOOK_STORE']).map((problem) => problem.split(':')[0]),
    ['DAYBOOK_STORE.params.bucket', 'DAYBOOK_STORE.params.kmsKeyId'],
  );
});

test('a text that is not JSON is told by its line and column, and by its file, without a word of it', () => {
  const secret = 'whsec_secret';
  for (const [text, place] of [
    [`[{"name":"a",\n  "secrets":["${secret}"],,}]`, 'line 2, column 30'],
    [`[{"secrets":\n["${secret}"]`, 'line 2, column 17'],
    [`[${secret}]`, 'line 1, column 2'],
    ['[', 'line 1, column 2'],
  ] as const) {
    assert.deepEqual(problemsOf({ DAYBOOK_SOURCES: text }), [`DAYBOOK_SOURCES: is not JSON: see ${place}`]);
    const file = fileWith('broken.json', text);
    const said = `the file ${file} is not JSON: see ${place}`;
    assert.deepEqual(problemsOf({ DAYBOOK_SOURCES: file }), [`DAYBOOK_SOURCES: ${said}`]);
    assert.deepEqual(problemsOf({ DAYBOOK_SOURCES_FILE: file }), [`DAYBOOK_SOURCES: ${said}`]);
    assert.throws(() => readSecretsFile(file, {}), { code: 'usage', message: `--secrets: ${said}` });
  }
});

test('a name that is not a setting is told with the nearest that is, if any is near', () => {
  assert.deepEqual(problemsOf({ DAYBOOK_SOURCES: sources, INGEST_PROT: '1', COMPACTOR_X: '1', DAYBOOK_SOURCE: '1' }), [
    'COMPACTOR_X: is not a setting of daybook',
    'DAYBOOK_SOURCE: is not a setting of daybook. Did you mean DAYBOOK_SOURCES?',
    'INGEST_PROT: is not a setting of daybook. Did you mean INGEST_PORT?',
  ]);
  assert.deepEqual(problemsOf({ DAYBOOK_SOURCES: sources, COMPACTOR_SOURCES: '1', DAYBOOK_TYPO: '1' }), [
    'COMPACTOR_SOURCES: is not a setting of daybook. Did you mean DAYBOOK_SOURCES?',
    'DAYBOOK_TYPO: is not a setting of daybook',
  ]);
  assert.equal(nearestName('INGEST_SPOOL_FLE', ['INGEST_SPOOL', 'INGEST_SPOOL_FILE']), 'INGEST_SPOOL_FILE');
});

test('a job secret that could be guessed is refused', () => {
  const problems = (secret: string) => problemsOf({ COMPACTOR_JOB_SECRET: secret }, ['COMPACTOR_JOB_SECRET']);
  assert.match(problems('x'.repeat(15))[0]!, /^COMPACTOR_JOB_SECRET: has fewer than 16 characters/);
  assert.deepEqual(problems('x'.repeat(16)), []);
});

test('a worker is one of those that there are', () => {
  const of = (text: string) => problemsOf({ COMPACTOR_WORKER: text }, ['COMPACTOR_WORKER']);
  for (const text of ['0/1', '3/4', '63/64']) assert.deepEqual(of(text), []);
  for (const text of ['4/4', '0/65', '1', '', '/4', '-1/4', '1/0']) assert.equal(of(text).length, 1, text);
});

test('wrong shapes are told in plain words, with the name that was meant', () => {
  const stripe = '"name":"platform","scheme":"stripe"';
  const kafka = (ssl: string) => `{"type":"kafka","params":{"brokers":["k:9093"],"topic":"t","ssl":${ssl}}}`;
  const notPem = fileWith('not.pem', 'hello');
  const told: readonly (readonly [string, string, string])[] = [
    ['DAYBOOK_SOURCES', '{}', 'must be a list'],
    ['DAYBOOK_SOURCES', '', 'is empty'],
    ['DAYBOOK_SOURCES', '[1]', 'must be an object'],
    ['DAYBOOK_SOURCES', `[{${stripe}}]`, 'secrets: is required'],
    ['DAYBOOK_SOURCES', `[{${stripe},"secrets":["x"],"mode":"prod"}]`, 'mode: must be live or test'],
    ['DAYBOOK_SOURCES', `[{${stripe},"secrets":["x"],"apikey":"x"}]`, 'has no member "apikey". Did you mean apiKey?'],
    ['DAYBOOK_STREAM', '{"type":"kafak"}', 'type: must be embedded, kafka, kinesis or module'],
    ['DAYBOOK_STREAM', '{"type":"kafka"}', 'params: is required'],
    ['DAYBOOK_STREAM', kafka('"yes"'), 'ssl: must be true or false, or must be an object'],
    ['DAYBOOK_STREAM', kafka('{"ca":3}'), 'ssl: ca must be a text'],
    ['DAYBOOK_STREAM', kafka('{"ca":"/none"}'), 'ssl: ca is neither a value nor a readable file (ENOENT)'],
    ['DAYBOOK_STREAM', kafka(`{"ca":"${notPem}"}`), 'ssl.ca: is a file without PEM in it'],
    ['DAYBOOK_STREAM', kafka('{"ca":"/none","caa":1}'), '(ENOENT); has no member "caa". Did you mean ca?'],
    ['DAYBOOK_SOURCES', `[{${stripe},"secrets":["x"],"accounts":{}}]`, 'accounts: must be all, or must be a list'],
    ['LOG_LEVEL', 'loud', 'must be trace, debug, info, warn, error, fatal or silent'],
  ];
  for (const [name, text, problem] of told) {
    const lines = problemsOf({ [name]: text }, [name as SettingName]);
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.ok(lines[0]!.endsWith(problem), lines[0]);
  }
});
