/**
 * Damage of the spool file, by random bytes and random cuts: every record is delivered as it was, or is among the dead
 * letters, or is named as missing; ingest opens the spool in any case, and goes on.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { BackingStore } from '../../ingest/spool/backing-store.ts';
import { openSpool } from '../../ingest/spool/open-spool.ts';
import { capturedLog, type LogLine } from '../captured-log.ts';
import { lettersOf } from '../contract/backing-store.ts';

const clock = { now: () => new Date('2026-11-21T12:00:00.000Z') };
const runs = Number(process.env.SPOOL_DAMAGE_RUNS ?? 12);

async function open(dataDirectory: string): Promise<{ store: BackingStore; lines: LogLine[] }> {
  const { log, lines } = capturedLog();
  const store = await openSpool({ type: 'file' }, { dataDirectory, clock, log, use: 'drain' });
  return { store, lines };
}

interface Books {
  /** A data directory, and what its spool holds: value by key. */
  readonly directory: string;
  readonly live: ReadonlyMap<string, Buffer>;
  readonly dead: ReadonlyMap<string, Buffer>;
  /** What was delivered. */
  readonly gone: ReadonlyMap<string, Buffer>;
  readonly sequences: ReadonlyMap<string, number>;
}

const sizes = [300, 3_000, 5_900, 40_000, 12, 15_900, 16_100, 9_000, 2_000, 70_000];

/** A spool with records of many sizes: some delivered, some dead, `waiting` of them live. */
async function keepBooks(t: TestContext, waiting: number, end: 'closed' | 'killed'): Promise<Books> {
  const directory = await fs.mkdtemp(join(tmpdir(), 'daybook-spool-books-'));
  t.after(() => fs.rm(directory, { recursive: true }));
  const { store } = await open(directory);
  const live = new Map<string, Buffer>();
  const gone = new Map<string, Buffer>();
  const dead = new Map<string, Buffer>();
  let number = 0;
  const append = async (count: number) => {
    const records = Array.from({ length: count }, () => {
      const key = `record-${number}`;
      const value = randomBytes(sizes[number++ % sizes.length]!);
      live.set(key, value);
      return { key, value };
    });
    await store.append(records);
  };
  const take = async (count: number) => {
    const batch = await store.peek({ maxRecords: count, maxBytes: 100_000_000 });
    for (const { key, value } of batch.records) {
      live.delete(key);
      gone.set(key, Buffer.from(value));
    }
    await batch.commit();
  };
  await append(15);
  await take(10);
  for (const one of (await store.peek({ maxRecords: 2, maxBytes: 100_000_000 })).records) {
    await store.deadLetter(one, 'refused');
    live.delete(one.key);
    dead.set(one.key, Buffer.from(one.value));
  }
  for (let left = waiting; left > 0; left -= 8) await append(Math.min(8, left));
  await take(3);
  const { records } = await store.peek({ maxRecords: 10_000, maxBytes: 1_000_000_000 });
  const letters = await lettersOf(store);
  const sequences = new Map([...records, ...letters].map(({ key, sequence }) => [key ?? '', Number(sequence)]));
  const kept = join(directory, 'kept');
  if (end === 'closed') await store.close();
  await fs.cp(join(directory, 'spool'), join(kept, 'spool'), { recursive: true });
  await store.close();
  return { directory: kept, live, dead, gone, sequences };
}

/** Does harm to the database or to its log in a copy of the books' spool. */
async function damage({ directory }: Books, copy: string, ofLog: boolean, harm: (bytes: Buffer) => Buffer) {
  await fs.cp(directory, copy, { recursive: true });
  const folder = join(copy, 'spool');
  const name = (await fs.readdir(folder)).find((one) => one.endsWith(ofLog ? '.sqlite-wal' : '.sqlite'))!;
  await fs.writeFile(join(folder, name), harm(await fs.readFile(join(folder, name))));
}

/** Delivers all that the spool gives, and looks into the dead letters and the log. */
async function drain(store: BackingStore) {
  const delivered = new Map<string, Buffer>();
  for (;;) {
    const batch = await store.peek({ maxRecords: 7, maxBytes: 200_000 });
    if (batch.records.length === 0) break;
    for (const { key, value } of batch.records) delivered.set(key, Buffer.from(value));
    await batch.commit();
  }
  return delivered;
}

async function checkAgainst(books: Books, copy: string): Promise<void> {
  const { store, lines } = await open(copy);
  try {
    const delivered = await drain(store);
    await store.append([{ key: 'after', value: Buffer.from('after') }]);
    assert.deepEqual([...(await drain(store)).keys()], ['after'], 'it goes on');
    const letters = await lettersOf(store);

    for (const [key, value] of delivered) {
      const original = books.live.get(key) ?? books.dead.get(key) ?? books.gone.get(key);
      assert.ok(original?.equals(value), `${key} is as it was`);
    }
    const named = new Set(letters.map(({ key }) => key));
    for (const { key, raw } of letters) {
      if (key !== null)
        assert.ok((books.dead.get(key) ?? books.live.get(key) ?? books.gone.get(key))?.equals(Buffer.from(raw)), key);
    }
    const isMissing = missingIn(lines);
    const nameless = letters.filter(({ key }) => key === null).length;
    const unseen = [...books.live.keys(), ...books.dead.keys()].filter((key) => !delivered.has(key) && !named.has(key));
    const unnamed = unseen.filter((key) => !isMissing(books.sequences.get(key) ?? Number.NaN));
    assert.ok(unnamed.length <= nameless, `neither delivered, nor dead, nor named: ${unnamed.join()}`);
    // A dead letter that is damaged stays one, without its name. Of anything else the log speaks too.
    if (unseen.length > nameless || unseen.some((key) => books.live.has(key)))
      assert.ok(
        lines.some(({ level, code }) => level >= 40 && code === 'spool_damaged'),
        'it is said',
      );
    const size = await store.size();
    assert.deepEqual({ records: size.records, dead: size.dead }, { records: 0, dead: letters.length });
  } finally {
    await store.close();
  }
}

function missingIn(lines: readonly LogLine[]): (sequence: number) => boolean {
  const ranges = lines.flatMap(({ missingSequences }) =>
    ((missingSequences ?? []) as string[]).map((range) => range.split('–').map(Number) as [number, number]),
  );
  // Cut off before the page with the state: then the log says that nobody can tell what else there was.
  if (lines.some(({ isStateKnown }) => isStateKnown === false)) return () => true;
  return (sequence) => ranges.some(([from, to]) => from <= sequence && sequence <= to);
}

/** Anywhere, or among the first bytes of a page, where SQLite and the log keep what holds the file together. */
const place = fc.record({
  // No fc.double: of all doubles below 1 nearly all are close to 0.
  part: fc.nat(999_999).map((millionth) => millionth / 1_000_000),
  ofPage: fc.option(fc.nat(160), { freq: 1 }),
});

/** Frames of the log: a header of 32 bytes, then pages of 16 KiB with 24 bytes before each. */
function offsetOf({ part, ofPage }: { part: number; ofPage: number | null }, bytes: number, ofLog: boolean): number {
  const any = Math.floor(part * bytes);
  if (ofPage === null) return any;
  const pageBytes = ofLog ? 16_408 : 16_384;
  return Math.max(0, Math.min(any - (any % pageBytes) + ofPage, bytes - 1));
}

for (const [end, waiting] of [
  ['closed', 60],
  ['killed', 40],
  ['killed', 120],
] as const) {
  for (const [harm, apply] of [
    ['a flipped byte', (bytes: Buffer, at: number, mask: number) => flip(bytes, at, mask)],
    ['a cut-off end', (bytes: Buffer, at: number) => bytes.subarray(0, at)],
    [
      'a page of rubbish',
      (bytes: Buffer, at: number, mask: number) =>
        bytes.fill(mask, at - (at % 4096), Math.min(at - (at % 4096) + 4096, bytes.length)),
    ],
  ] as const) {
    test(`${harm} in the file of a spool that was ${end} with ${waiting} records loses none unseen`, async (t) => {
      const books = await keepBooks(t, waiting, end);
      await fc.assert(
        fc.asyncProperty(fc.boolean(), place, fc.integer({ min: 1, max: 255 }), async (log, where, mask) => {
          const ofLog = log && end === 'killed';
          const copy = await fs.mkdtemp(join(tmpdir(), 'daybook-spool-damaged-'));
          try {
            await damage(books, copy, ofLog, (bytes) => apply(bytes, offsetOf(where, bytes.length, ofLog), mask));
            await checkAgainst(books, copy);
          } finally {
            await fs.rm(copy, { recursive: true });
          }
        }),
        // Dead letters were lost unseen: the page held their frames, and the reasons beside them were not looked at.
        // In the second one is damaged where it lies.
        {
          numRuns: runs,
          examples: [
            [false, { part: 0.036667, ofPage: null }, 1],
            [false, { part: 0.03721, ofPage: null }, 1],
          ],
        },
      );
    });
  }
}

function flip(bytes: Buffer, at: number, mask: number): Buffer {
  bytes[at] = bytes[at]! ^ mask;
  return bytes;
}
