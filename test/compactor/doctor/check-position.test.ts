/** The stream beside the ledger, and ledgers that are broken: as the program tells them, and by the checks themselves. */
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { consumerOf } from '../../../compactor/configuration.ts';
import { checkPosition } from '../../../compactor/doctor/check-position.ts';
import { parseStreamKeys } from '../../../shared/crypto/stream-seal.ts';
import { type Envelope, readEnvelope, sealAgain } from '../../../shared/envelope.ts';
import { openEmbeddedReader, openEmbeddedWriter } from '../../../shared/stream/embedded/embedded.ts';
import { stripeRecord } from '../books.ts';
import { complaints, openPatient, type Patient } from './doctor-under-test.ts';

let patient: Patient;
beforeEach(async () => {
  patient = await openPatient();
});
afterEach(() => patient.close());

const manifest = (number: number) => join(patient.books.archive, `manifests/0000000${number}.jsonl`);

async function complaintsOf(change: Readonly<Record<string, string>> = {}): Promise<string[]> {
  return complaints((await patient.doctor(change)).findings);
}

function record(id: string, receivedAt: string) {
  const created = Math.floor(Date.parse(receivedAt) / 1000);
  return stripeRecord(JSON.stringify({ id, type: 'charge.succeeded', created, data: {} }), { receivedAt });
}

test('what waits is counted; what waits for longer than a night is a warning', async () => {
  const today = new Date().toISOString();
  await patient.books.deliver(record('evt_today', today));
  const { findings } = await patient.doctor();
  assert.deepEqual(complaints(findings), []);
  const said = `1 record waits for the day to be closed, the oldest since ${today}`;
  assert.ok(findings.some(({ message }) => message === said));
  const old = new Date(Date.now() + 3 * 86_400_000);
  const reader = await openEmbeddedReader({
    directory: patient.books.directory,
    consumer: 'x',
    clock: { now: () => old },
  });
  const [found] = await checkPosition(reader, await patient.books.ledger(), old.getTime());
  await reader.close();
  assert.deepEqual([found!.status, found!.message], ['warning', said]);
});

test('a record that waits, and whose seal is not of the keys that are set, is told before a night puts it aside', async () => {
  await patient.books.deliver(record('evt_unsealed', new Date().toISOString()));
  const key = { DAYBOOK_STREAM_KEY: 'k'.repeat(32) };
  assert.match((await complaintsOf(key)).join('\n'), /warning stream: a record that waits has no seal/);
  assert.deepEqual(await complaintsOf(), []);
  const [other] = parseStreamKeys('x'.repeat(32))!;
  const envelope = readEnvelope(record('evt_sealed', new Date().toISOString()).value) as Envelope;
  const value = sealAgain(envelope, other);
  // In every partition: the first that waits in each is looked at.
  await patient.books.deliver(...Array.from({ length: 64 }, (_, index) => ({ key: `${index}`, value })));
  assert.match(
    (await complaintsOf(key)).join('\n'),
    /problem stream: a record that waits is sealed by none of the keys/,
  );
});

test('records that aged out before they were archived are a problem with their place', async () => {
  const { directory } = patient.books;
  // Far enough for the consumer of the books to count no more.
  const clock = { now: () => new Date(Date.now() + 400 * 86_400_000) };
  await patient.books.deliver(
    ...Array.from({ length: 20 }, (_, index) => record(`evt_${index}`, new Date().toISOString())),
  );
  const ledger = await patient.books.ledger();
  const reader = await openEmbeddedReader({ directory, consumer: 'another', clock });
  const { partitions } = await reader.snapshot();
  await reader.commit(new Map([...partitions].map(([partition, { end }]) => [partition, end! - 1n])));
  await reader.close();
  const own = await openEmbeddedReader({ directory, consumer: 'own', clock });
  const found = await checkPosition(own, ledger, Date.now());
  await own.close();
  const lost = found.filter(({ code }) => code === 'stream_hole');
  assert.ok(lost.length > 0);
  assert.match(lost[0]!.message, /^partition \d: what lay between \d+ and \d+ aged out before it was archived$/);
});

test('a ledger that knows less than the committed positions is ledger_behind', async () => {
  const { directory, archive } = patient.books;
  const consumer = consumerOf(archive, '');
  const reader = await openEmbeddedReader({ directory, consumer, clock: { now: () => new Date() } });
  await patient.books.deliver(
    ...Array.from({ length: 20 }, (_, index) => record(`evt_${index}`, new Date().toISOString())),
  );
  const { partitions } = await reader.snapshot();
  await reader.commit(new Map([...partitions].map(([partition, { end }]) => [partition, end!])));
  await reader.close();
  const { code, findings } = await patient.doctor();
  const [found] = findings.filter(({ status }) => status === 'problem');
  assert.deepEqual([code, found!.check, found!.code], [2, 'stream', 'ledger_behind']);
});

test('another stream than that of the ledger is a warning', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-doctor-other-'));
  const writer = await openEmbeddedWriter({ directory });
  await writer.close();
  const found = await complaintsOf({ DAYBOOK_DATA_DIR: directory });
  await rm(directory, { recursive: true });
  assert.deepEqual(found, [
    'warning stream: this is another stream than the one that the ledger stands in: it is read from its beginning',
  ]);
});

test('a manifest that is changed or missing is ledger_broken, and all else is looked at', async () => {
  const whole = readFileSync(manifest(1));
  writeFileSync(manifest(1), whole.toString().replace('"number":1', '"number":3'));
  const changed = await patient.doctor();
  assert.deepEqual(complaints(changed.findings), ['problem ledger: manifest 1: its signature does not hold']);
  assert.deepEqual(
    [changed.code, changed.findings.find(({ check }) => check === 'ledger')!.code],
    [2, 'ledger_broken'],
  );
  assert.ok(changed.findings.some(({ check }) => check === 'stripe platform'));
  rmSync(manifest(1));
  assert.match((await complaintsOf())[0]!, /^problem ledger: expected .*00000001\.jsonl, found .*00000002\.jsonl/);
});

test('a key that nobody knows is told by its id; one that follows another is said', async () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const file = join(patient.books.directory, 'new-key.pem');
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const [unknown] = await complaintsOf({ COMPACTOR_SIGNING_KEY_FILE: file });
  assert.match(unknown!, /^problem ledger: manifest 1 is signed by the key [0-9a-f]{16}$/);
  const old = join(patient.books.directory, 'old-keys.pem');
  writeFileSync(old, createPublicKey(patient.books.signingKey).export({ type: 'spki', format: 'pem' }));
  const { findings } = await patient.doctor({ COMPACTOR_SIGNING_KEY_FILE: file, COMPACTOR_VERIFYING_KEYS: old });
  assert.deepEqual(complaints(findings), []);
  assert.ok(findings.some(({ message }) => /by [0-9a-f]{16}; the next will be signed by [0-9a-f]{16}$/.test(message)));
});

test('an archive that is not there yet is not a complaint, and is not made; a folder that is a file is a problem', async () => {
  const none = join(patient.books.directory, 'none');
  const store = (path: string) => ({ DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path } }) });
  const data = { DAYBOOK_DATA_DIR: join(patient.books.directory, 'data') };
  const { findings } = await patient.doctor({ ...store(none), ...data });
  assert.deepEqual(complaints(findings), []);
  assert.ok(findings.some(({ message }) => message === 'there is no manifest: nothing is archived yet'));
  assert.throws(() => readFileSync(none), { code: 'ENOENT' });
  appendFileSync(none, 'x');
  assert.match((await complaintsOf(store(none))).join('\n'), /^problem store: the archive is not a folder$/m);
});
