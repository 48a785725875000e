/** What of a position is believed, by what the stream still has of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hash16, type PartitionPosition, type Tip } from '../../../compactor/ledger/manifest.ts';
import { provePositions } from '../../../compactor/stream/prove-position.ts';
import { markOf } from '../../../shared/stream/prove-record.ts';
import type { EventStreamReader, StoredRecord } from '../../../shared/stream/stream.ts';

/** A log of one partition: records `0`, `1` … as they were taken, of which those below `start` have aged out. */
interface Log {
  readonly start: number;
  readonly records: readonly StoredRecord[];
}

const recordOf = (text: string, appendedMs: number | undefined): StoredRecord => ({
  value: Buffer.from(text),
  appendedMs,
});
const taken = (...texts: string[]) => texts.map((text, index) => recordOf(text, 1000 + index));
const ten = taken(...Array.from({ length: 10 }, (_, n) => `${n}`));
const tipAt = (at: number): Tip => ({ at: `${at}`, mark: markOf(ten[at - 1]!) });

/** Read up to 8; 3 is today's and waits; 4 to 6 are archived. */
const position: PartitionPosition = { next: '3', last: hash16(ten[2]!.value), done: [['4', '7']], tip: tipAt(8) };
const { tip: _, ...old } = position;

async function prove(known: PartitionPosition, { start, records }: Log, tellsBounds = true) {
  const bounds = () => (tellsBounds ? { start: BigInt(start), end: BigInt(records.length) } : {});
  const stream: Pick<EventStreamReader, 'snapshot' | 'recordBefore'> = {
    snapshot: async () => ({ id: 'x', partitions: new Map([['0', bounds()]]) }),
    recordBefore: async (_, cursor) => (Number(cursor) > start ? records[Number(cursor) - 1] : undefined),
  };
  const proven = await provePositions(stream as EventStreamReader, await stream.snapshot(), { 0: known });
  const { from, done } = proven.get('0')!;
  return {
    from: from === undefined ? 'the beginning' : Number(from),
    done: done.map(([a, b]) => [Number(a), Number(b)]),
  };
}

const all = { from: 3, done: [[4, 7]] };
const nothing = { from: 'the beginning', done: [] };

test('all of a position is believed while the record at its tip is the same, whatever has come or aged out since', async () => {
  for (const start of [0, 2, 3, 5, 7]) {
    assert.deepEqual(await prove(position, { start, records: ten.slice(0, 8) }), all);
    assert.deepEqual(await prove(position, { start, records: ten }), all);
  }
});

test('nothing of it is believed where the tip is another record, or an equal one that was taken at another time', async () => {
  const [equal, other] = [recordOf('7', 5000), recordOf('other', 1007)];
  for (const tip of [equal, other]) {
    for (const more of [[], ten.slice(8)]) {
      assert.deepEqual(await prove(position, { start: 0, records: [...ten.slice(0, 7), tip, ...more] }), nothing);
    }
  }
});

test('nothing of it is believed where the log ends before the tip, though all that was archived is there', async () => {
  for (const end of [0, 2, 3, 5, 7])
    assert.deepEqual(await prove(position, { start: 0, records: ten.slice(0, end) }), nothing);
});

test('where the tip has aged out, so has all that could be skipped: no fault', async () => {
  assert.deepEqual(await prove(position, { start: 8, records: ten.slice(0, 8) }), all);
  assert.deepEqual(await prove(position, { start: 9, records: ten }), all);
  const unread: PartitionPosition = { next: '8', last: null, done: [], tip: { at: '8', mark: null } };
  assert.deepEqual(await prove(unread, { start: 8, records: ten.slice(0, 8) }), { from: 8, done: [] });
});

test('where nothing was kept when the position was written, and something is kept below it, it is another log', async () => {
  const unread: PartitionPosition = { next: '8', last: null, done: [], tip: { at: '8', mark: null } };
  assert.deepEqual(await prove(unread, { start: 0, records: ten }), nothing);
  const { tip: _, ...older } = unread;
  assert.deepEqual(await prove(older, { start: 0, records: ten }), nothing);
});

test('a tip where now is not a record, though older ones are kept, is of another log', async () => {
  const gap = ten.map((record, at) => (at === 7 ? (undefined as unknown as StoredRecord) : record));
  assert.deepEqual(await prove(position, { start: 0, records: gap }), nothing);
});

test('a tip that ages out between the snapshot and the look at it is not a fault', async () => {
  let start = 0n;
  const stream: Pick<EventStreamReader, 'snapshot' | 'recordBefore'> = {
    snapshot: async () => ({ id: 'x', partitions: new Map([['0', { start, end: 10n }]]) }),
    async recordBefore() {
      start = 9n;
      return undefined;
    },
  };
  const proven = await provePositions(stream as EventStreamReader, await stream.snapshot(), { 0: position });
  assert.equal(proven.get('0')?.from, 3n);
});

test('of an older manifest `last` proves `next`, and nothing proves `done`: that is read again', async () => {
  assert.deepEqual(await prove(old, { start: 0, records: ten }), { from: 3, done: [] });
  assert.deepEqual(await prove({ ...old, next: '0', last: null }, { start: 0, records: ten }), { from: 0, done: [] });
  assert.deepEqual(await prove(old, { start: 0, records: taken('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h') }), nothing);
  assert.deepEqual(await prove(old, { start: 0, records: ten.slice(0, 6) }), nothing, 'it ends within `done`');
  assert.deepEqual(await prove(old, { start: 7, records: ten }), all, 'what has aged out cannot be skipped');
});

test('a stream that tells no bounds never gives a number twice: what it no longer has is believed', async () => {
  const unmarked = { ...position, tip: { at: '8', mark: markOf(recordOf('7', undefined)) } };
  const kinesis = ten.map(({ value }) => ({ value, appendedMs: undefined }));
  assert.deepEqual(await prove(unmarked, { start: 0, records: kinesis }, false), all);
  assert.deepEqual(await prove(unmarked, { start: 9, records: kinesis }, false), all);
  const others = kinesis.map(() => recordOf('other', undefined));
  assert.deepEqual(await prove(unmarked, { start: 0, records: others }, false), nothing);
});
