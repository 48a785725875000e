/** What must hold of an archive whatever happened to the nights that wrote it; and events to fill its days with. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DayState, Ledger } from '../../compactor/ledger/ledger.ts';
import { verifyArchive } from '../../compactor/verify/verify-archive.ts';
import { addDays, type Day, dayOf, parseInstant, startOfDayMs } from '../../shared/clock.ts';
import { parseIdentities } from '../../shared/crypto/identities.ts';
import { readSigner } from '../../shared/crypto/signing.ts';
import { canonicalJson, compareCodePoints } from '../../shared/json/canonical-json.ts';
import { maxNesting } from '../../shared/json/json-text.ts';
import { readWhole } from '../../shared/store/store.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { type Books, eventRecord, stripeRecord } from '../compactor/books.ts';
import { type MadeEvent, stripeEvents } from '../stripe/events.ts';

/** By source: the ids that must be there, each once, and the number of delivery lines over all its days. */
export type Expected = Readonly<Record<string, { readonly ids: Iterable<string>; readonly deliveries?: number }>>;

/**
 * Opens everything that the ledger names and checks it: the chain, every hash, lines, their order and their days, ids,
 * delivery lines, counts; each expected id once over all parts of its source, and no other. `verify` must agree.
 */
export async function assertBooks(books: Books, expected: Expected): Promise<Ledger> {
  const ledger = await books.ledger();
  const found = new Map<string, { ids: string[]; deliveries: number }>();
  const named = new Set<string>();
  for (const [source, days] of ledger.sources) {
    const ids: string[] = [];
    let deliveries = 0;
    for (const [day, state] of days) {
      const of = await assertDay(books, day, state, named);
      ids.push(...of.ids);
      deliveries += of.deliveries;
    }
    found.set(source, { ids, deliveries });
  }
  for (const name of new Set([...Object.keys(expected), ...found.keys()])) {
    const { ids = [], deliveries } = expected[name] ?? {};
    const there = found.get(name) ?? { ids: [], deliveries: 0 };
    assert.deepEqual(there.ids.toSorted(), [...ids].toSorted(), `every event of ${name} once, and no other`);
    if (deliveries !== undefined) assert.equal(there.deliveries, deliveries, `delivery lines of ${name}`);
  }
  for (let number = 1; number <= (ledger.head?.number ?? 0); number += 1) {
    for (const { key, records, sha256 } of (await books.manifest(number)).quarantine) {
      assert.equal((await assertSealed(books, key, sha256, named)).length, records);
    }
  }
  await assertVerified(books);
  return ledger;
}

async function assertVerified(books: Books): Promise<void> {
  const signer = readSigner(books.signingKey);
  const temporaryDirectory = await mkdtemp(join(books.directory, 'verify-'));
  const { ok, breaks } = await verifyArchive({
    store: books.store,
    prefix: '',
    verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
    identities: parseIdentities(books.identity),
    temporaryDirectory,
    progress: () => {},
  });
  assert.deepEqual({ ok, breaks }, { ok: true, breaks: [] });
  await rm(temporaryDirectory, { recursive: true });
}

async function assertDay(books: Books, day: Day, state: DayState, named: Set<string>) {
  const ids: string[] = [];
  let deliveries = 0;
  for (const part of state.parts) {
    const lines = await assertSealed(books, part.key, part.sha256, named);
    assert.equal(lines.length, part.events);
    assert.equal(Buffer.byteLength(lines.map((line) => `${line}\n`).join('')), part.bytes.plaintext);
    assert.equal((await books.store.head(part.key))?.bytes, part.bytes.ciphertext);
    const events = lines.map((line) => {
      // An event as deep as is taken is one level deeper in its CloudEvent.
      assert.equal(line, canonicalJson(line, maxNesting + 1), 'a line is canonical');
      const { id, created, time } = JSON.parse(line);
      const instantMs = typeof created === 'number' ? created * 1000 : parseInstant(created ?? time)!;
      assert.equal(dayOf(instantMs), day, 'a line lies in its own day');
      return { id: id as string, instantMs };
    });
    const sorted = events.toSorted((a, b) => a.instantMs - b.instantMs || compareCodePoints(a.id, b.id));
    assert.deepEqual(events, sorted, 'lines are sorted by instant and id');
    assert.equal(Date.parse(part.firstCreated), events[0]?.instantMs);
    assert.equal(Date.parse(part.lastCreated), events.at(-1)?.instantMs);
    const partIds = events.map(({ id }) => id);
    assertNamedOnce(part.ids.key, named);
    assert.equal(sha256Of(await readWhole(books.store, part.ids.key)), part.ids.sha256);
    assert.deepEqual(
      await books.lines(part.ids.key),
      partIds.toSorted(compareCodePoints),
      'ids.gz has its ids, sorted',
    );
    ids.push(...partIds);
    if (part.deliveries !== null) deliveries += await assertDeliveries(books, part.deliveries, named, new Set(partIds));
  }
  for (const late of state.lateDeliveries) deliveries += await assertDeliveries(books, late, named, new Set(ids));
  for (const { key, sha256, counts } of state.exceptions) {
    const lines = await assertSealed(books, key, sha256, named);
    assert.equal(lines.length, counts.notListed + counts.differing + counts.missing + (counts.listedBody ?? 0));
  }
  const { delivered, recovered, duplicates } = state.counts;
  assert.equal(delivered + recovered, ids.length, `lines of ${day}`);
  assert.equal(duplicates, deliveries - delivered, `duplicates of ${day}`);
  return { ids, deliveries };
}

async function assertDeliveries(
  books: Books,
  object: DayState['lateDeliveries'][number] | NonNullable<DayState['parts'][number]['deliveries']>,
  named: Set<string>,
  ids: ReadonlySet<string>,
): Promise<number> {
  const lines = await assertSealed(books, object.key, object.sha256, named);
  assert.equal(lines.length, object.count);
  assert.equal(new Set(lines).size, lines.length, 'delivery lines that are equal are one');
  const keys = lines.map((line) => {
    const { id, receivedat, body } = JSON.parse(line);
    assert.ok(ids.has(id), 'a delivery is of an event of its day');
    return `${id}\0${receivedat}\0${body}`;
  });
  assert.deepEqual(keys, keys.toSorted(compareCodePoints), 'deliveries are sorted by id, receipt and body');
  return lines.length;
}

/** The lines of a sealed object, whose bytes must be those that the manifest names, and which none names twice. */
async function assertSealed(
  books: Books,
  key: string,
  sha256: { readonly plaintext: string; readonly ciphertext: string },
  named: Set<string>,
): Promise<string[]> {
  assertNamedOnce(key, named);
  assert.equal(sha256Of(await readWhole(books.store, key)), sha256.ciphertext, `${key} is what was written`);
  const lines = await books.lines(key);
  assert.equal(sha256Of(lines.map((line) => `${line}\n`).join('')), sha256.plaintext);
  assert.ok(key.includes(sha256.plaintext.slice(0, 16)), `${key} tells its content`);
  return lines;
}

function assertNamedOnce(key: string, named: Set<string>): void {
  assert.ok(!named.has(key), `${key} is named once`);
  named.add(key);
}

/** The hash of every object in the store, by its key. */
export async function objectsOf(books: Books): Promise<Map<string, string>> {
  const objects = new Map<string, string>();
  for (const key of await books.keys()) objects.set(key, sha256Of(await readWhole(books.store, key)));
  return objects;
}

/** None of the objects that were there is changed or gone. */
export async function assertUnchanged(books: Books, before: ReadonlyMap<string, string>): Promise<void> {
  const after = await objectsOf(books);
  for (const [key, hash] of before) assert.equal(after.get(key), hash, `${key} is as it was`);
}

function sha256Of(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function eventsOfDay(day: Day, count: number, seed: string): MadeEvent[] {
  const fromSeconds = startOfDayMs(day) / 1000;
  return stripeEvents({ count, seed: `${day} ${seed}`, fromSeconds, toSeconds: startOfDayMs(addDays(day, 1)) / 1000 });
}

/** Copies of an event, each of another delivery. */
export function copiesOf(event: MadeEvent, ...minutes: number[]): AppendRecord[] {
  return minutes.map((minute) => {
    const receivedAt = new Date(event.createdSeconds * 1000 + minute * 60_000).toISOString();
    return stripeRecord(event.text, { receivedAt });
  });
}

/** An event of the billing server whose time is claimed. */
export function billingRecord(id: string, time: string, options: { source?: string; receivedAt?: string } = {}) {
  const { receivedAt = new Date(time).toISOString(), source = 'billing' } = options;
  return eventRecord(JSON.stringify({ app: 'billing', id, eventTime: time }), { id, time, source, receivedAt });
}
