/** What every type of spool keeps. A type's test joins with a factory; each test gets a new, empty spool. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { hash, randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { BackingStore, DeadLetter, SpooledRecord } from '../../ingest/spool/backing-store.ts';
import type { Clock } from '../../shared/clock.ts';
import { DaybookError, type ErrorCode } from '../../shared/errors.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { killAfter } from './kill-after.ts';

export interface SpoolUnderTest {
  /** Opens the same spool each time, to drain it. `maxBytes`: else one that no test reaches. */
  open(options: { readonly maxBytes: number; readonly clock: Clock }): Promise<BackingStore>;
  /** Opens it as a command does, beside the one that drains. Absent where no other process can. */
  inspect?(): Promise<BackingStore>;
  /** Whether what was appended outlives the process. */
  readonly isDurable: boolean;
  /** From now on every call fails, as by an outage of what the spool rests on, until the function given back is called. */
  breakDown?(t: TestContext): Promise<() => Promise<void>>;
  /**
   * Starts a process that appends to this spool without end, 8 records a call, values `<number> <padding>`, numbers
   * counting from 0; a line with the last number on stdout follows each call that resolved.
   */
  startAppender?(): ChildProcess;
  remove(): Promise<void>;
}

const plenty = { maxRecords: 1_000, maxBytes: 64 * 1024 * 1024 };

export function backingStoreContract(name: string, factory: () => Promise<SpoolUnderTest>): void {
  const promise = (sentence: string, check: (spool: OpenSpool) => Promise<void>) =>
    test(`${name}: ${sentence}`, async (t) => {
      const under = await factory();
      const opened: BackingStore[] = [];
      const time = { ms: Date.parse('2026-11-21T12:00:00.000Z') };
      try {
        await check({
          t,
          under,
          time,
          async open(maxBytes = 1024 ** 3) {
            const store = await under.open({ maxBytes, clock: { now: () => new Date(time.ms) } });
            opened.push(store);
            return store;
          },
        });
      } finally {
        for (const store of opened) await store.close();
        await under.remove();
      }
    });

  promise(
    'what waits is shown oldest first, large records and the 1,200th too, and nothing of it is changed',
    async ({ open, under }) => {
      const store = await open();
      const large = { key: 'large', value: randomBytes(1_500_000) };
      await store.append([...numbered(0, 700), large, ...numbered(700, 500)]);
      const [first, second] = (await store.peek(plenty)).records;
      await store.deadLetter(second!, 'a test');
      await (await store.peek({ ...plenty, maxRecords: 1 })).commit([first!]);
      const before = await store.size();
      const looker = (await under.inspect?.()) ?? store;
      try {
        for (const looking of [store, looker]) {
          const seen = await Array.fromAsync(looking.waiting());
          assert.equal(seen.length, 1_199);
          assert.ok(large.value.equals(seen[698]!.value));
          assert.deepEqual(textsOf(seen.slice(0, 3)), ['2', '3', '4']);
          assert.equal(textsOf(seen.slice(-1))[0], '1199');
        }
      } finally {
        if (looker !== store) await looker.close();
      }
      assert.deepEqual(await store.size(), before);
    },
  );

  promise('what was appended is given byte for byte, oldest first', async ({ open }) => {
    const store = await open();
    const values = [randomBytes(5_000), Buffer.alloc(0), Buffer.from([0, 0xff, 0xfe, 0x0a]), Buffer.from('{}')];
    const records = values.map((value, index) => ({ key: `ключ-${index}-🔑`, value }));
    await store.append(records.slice(0, 3));
    await store.append(records.slice(3));
    const batch = await store.peek(plenty);
    assert.deepEqual(batch.records.map(shown), records.map(shown));
    for (const [index, { sequence }] of batch.records.entries()) {
      if (index > 0) assert.ok(sequence > batch.records[index - 1]!.sequence);
    }
  });

  promise('what the caller does with its buffer later changes nothing', async ({ open }) => {
    const store = await open();
    const value = Buffer.from('as it was');
    await store.append([{ key: 'k', value }]);
    value.fill(0);
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['as it was']);
  });

  promise('an append of nothing resolves, and an empty spool gives an empty batch', async ({ open }) => {
    const store = await open();
    await store.append([]);
    const batch = await store.peek(plenty);
    assert.deepEqual(batch.records, []);
    await batch.commit();
    assert.deepEqual(await store.size(), { records: 0, bytes: 0, oldestSeconds: 0, dead: 0 });
  });

  promise('a batch that was not committed comes again, the same', async ({ open }) => {
    const store = await open();
    await store.append(numbered(0, 20));
    const first = await store.peek({ ...plenty, maxRecords: 7 });
    const again = await store.peek({ ...plenty, maxRecords: 7 });
    assert.deepEqual(first.records.map(shown), numbered(0, 7).map(shown));
    assert.deepEqual(again.records, first.records);
  });

  promise('a batch has no more records than asked for', async ({ open }) => {
    const store = await open();
    await store.append(numbered(0, 20));
    assert.equal((await store.peek({ ...plenty, maxRecords: 3 })).records.length, 3);
    assert.equal((await store.peek({ ...plenty, maxRecords: 1 })).records.length, 1);
    assert.equal((await store.peek({ ...plenty, maxRecords: 50 })).records.length, 20);
  });

  promise('a batch has no more bytes than asked for; a single larger record is given alone', async ({ open }) => {
    const store = await open();
    const sizes = [1_000, 2_000, 60_000, 500, 400];
    await store.append(sizes.map((bytes) => ({ key: 'k', value: randomBytes(bytes) })));
    const given: number[][] = [];
    for (;;) {
      const batch = await store.peek({ maxRecords: 100, maxBytes: 3_100 });
      if (batch.records.length === 0) break;
      given.push(batch.records.map(({ value }) => value.byteLength));
      await batch.commit();
    }
    assert.deepEqual(given, [[1_000, 2_000], [60_000], [500, 400]]);
  });

  promise('commit removes the batch, and what was appended while it was out stays', async ({ open }) => {
    const store = await open();
    await store.append(numbered(0, 5));
    const batch = await store.peek(plenty);
    await store.append(numbered(5, 3));
    await batch.commit();
    await batch.commit();
    const rest = await store.peek(plenty);
    assert.deepEqual(rest.records.map(shown), numbered(5, 3).map(shown));
    assert.equal((await store.size()).records, 3);
  });

  promise('commit of some removes these alone, and the others come first again', async ({ open }) => {
    const store = await open();
    await store.append(numbered(0, 8));
    const batch = await store.peek({ ...plenty, maxRecords: 6 });
    await batch.commit(batch.records.filter((_, index) => index % 2 === 0));
    assert.equal((await store.size()).records, 5);
    const rest = await store.peek(plenty);
    assert.deepEqual(textsOf(rest.records), ['1', '3', '5', '6', '7']);
    await batch.commit([]);
    await batch.commit();
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['6', '7']);
    await rest.commit();
    assert.deepEqual(await store.size(), { records: 0, bytes: 0, oldestSeconds: 0, dead: 0 });
  });

  promise('of appends at once each is whole, and their records are in one order', async ({ open }) => {
    const store = await open();
    await Promise.all(Array.from({ length: 40 }, (_, call) => store.append(numbered(call * 5, 5))));
    const texts = textsOf((await store.peek(plenty)).records).map(Number);
    assert.equal(new Set(texts).size, 200);
    for (let at = 0; at < texts.length; at += 5) {
      assert.deepEqual(
        texts.slice(at, at + 5),
        Array.from({ length: 5 }, (_, n) => texts[at]! + n),
      );
    }
  });

  promise('equal records are kept as often as they were appended', async ({ open }) => {
    const store = await open();
    for (let call = 0; call < 3; call++) await store.append([record('same'), record('same')]);
    assert.deepEqual(textsOf((await store.peek(plenty)).records), Array(6).fill('same'));
  });

  promise('records of up to 8 MB come through whole', async ({ open }) => {
    const store = await open();
    const records = [8_000_000, 15_990, 16_000, 16_010, 32_001, 900_000].map((bytes, index) => ({
      key: `big-${index}`,
      value: randomBytes(bytes),
    }));
    for (const one of records) await store.append([one]);
    const batch = await store.peek(plenty);
    assert.deepEqual(batch.records.map(shown), records.map(shown));
    await batch.commit(batch.records.slice(1, 3));
    const rest = await store.peek(plenty);
    assert.deepEqual(rest.records.map(shown), records.filter((_, index) => index < 1 || index > 2).map(shown));
    await rest.commit();
    assert.equal((await store.size()).bytes, 0);
  });

  promise('size counts the live and the dead, and how long the oldest waits', async ({ open, time }) => {
    const store = await open();
    await store.append(numbered(0, 2));
    time.ms += 90_000;
    await store.append(numbered(2, 2));
    const four = await store.size();
    assert.deepEqual({ ...four, bytes: 0 }, { records: 4, bytes: 0, oldestSeconds: 90, dead: 0 });
    assert.ok(four.bytes >= 4 * (numbered(0, 1)[0]!.value.byteLength + 1));
    const [first, second] = (await store.peek(plenty)).records;
    await store.deadLetter(first!, 'never');
    const three = await store.size();
    assert.deepEqual({ ...three, bytes: 0 }, { records: 3, bytes: 0, oldestSeconds: 90, dead: 1 });
    assert.ok(three.bytes >= four.bytes, 'a dead letter counts');
    await (await store.peek({ ...plenty, maxRecords: 1 })).commit();
    assert.equal(textsOf([second!]).length, 1);
    const two = await store.size();
    assert.deepEqual({ ...two, bytes: 0 }, { records: 2, bytes: 0, oldestSeconds: 0, dead: 1 });
    assert.ok(two.bytes < three.bytes);
  });

  promise('a full spool refuses a call whole, and takes the next as soon as there is room', async ({ open }) => {
    const store = await open(100_000);
    const large = (n: number) => ({ key: 'k', value: Buffer.alloc(30_000, n) });
    await store.append([large(1), large(2)]);
    await rejectsWith(store.append([record('small'), large(3), large(4)]), 'spool_full');
    assert.equal((await store.size()).records, 2, 'nothing of the refused call is there');
    await store.append([large(3)]);
    for (let call = 0; call < 3; call++) await rejectsWith(store.append([large(4)]), 'spool_full');
    assert.ok((await store.size()).bytes <= 100_000);
    await (await store.peek({ ...plenty, maxRecords: 1 })).commit();
    await store.append([large(4)]);
    assert.deepEqual(
      (await store.peek(plenty)).records.map(({ value }) => value[0]),
      [2, 3, 4],
    );
  });

  promise('dead letters take up room until they are gone', async ({ open }) => {
    const store = await open(100_000);
    const large = { key: 'k', value: Buffer.alloc(60_000) };
    await store.append([large]);
    await store.deadLetter((await store.peek(plenty)).records[0]!, 'never');
    await rejectsWith(store.append([large]), 'spool_full');
    assert.equal(await store.requeue(), 1);
    await (await store.peek(plenty)).commit();
    await store.append([large]);
  });

  promise('a record that is refused goes to the dead letters once, and the rest goes on', async ({ open, time }) => {
    const store = await open();
    await store.append(numbered(0, 4));
    const batch = await store.peek(plenty);
    await store.deadLetter(batch.records[1]!, 'too large for the topic');
    await store.deadLetter(batch.records[1]!, 'again');
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['0', '2', '3']);
    await batch.commit();
    assert.equal((await store.size()).records, 0);
    await store.deadLetter(batch.records[2]!, 'gone already');
    const letters = await lettersOf(store);
    assert.deepEqual(
      letters.map(({ reason, at, key, raw }) => ({ reason, at, key, raw: textOf(raw) })),
      [
        {
          reason: 'too large for the topic',
          at: new Date(time.ms).toISOString(),
          key: batch.records[1]!.key,
          raw: '1',
        },
      ],
    );
    assert.equal((await store.size()).dead, 1);
  });

  promise('dead letters are given oldest first, the large ones too', async ({ open }) => {
    const store = await open();
    const large = { key: 'large', value: randomBytes(300_000) };
    await store.append([record('a'), large, record('b')]);
    for (const one of (await store.peek(plenty)).records) await store.deadLetter(one, `no ${one.key}`);
    const letters = await lettersOf(store);
    assert.deepEqual(
      letters.map(({ key, raw, reason }) => ({ ...shown({ key: key!, value: raw }), reason })),
      [record('a'), large, record('b')].map((one) => ({ ...shown(one), reason: `no ${one.key}` })),
    );
  });

  promise('requeue puts dead letters behind the live records: those named, or all', async ({ open }) => {
    const store = await open();
    await store.append(numbered(0, 5));
    for (const one of (await store.peek({ ...plenty, maxRecords: 3 })).records) await store.deadLetter(one, 'no');
    const [, second] = await lettersOf(store);
    assert.equal(await store.requeue([second!.sequence, 999_999n]), 1);
    assert.equal(await store.requeue([second!.sequence]), 0);
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['3', '4', '1']);
    assert.equal(await store.requeue(), 2);
    assert.equal(await store.requeue(), 0);
    const batch = await store.peek(plenty);
    assert.deepEqual(textsOf(batch.records), ['3', '4', '1', '0', '2']);
    assert.equal((await store.size()).dead, 0);
    await batch.commit();
    assert.deepEqual(await store.size(), { records: 0, bytes: 0, oldestSeconds: 0, dead: 0 });
  });

  promise('a number is never given twice', async ({ open }) => {
    const store = await open();
    const seen = new Set<bigint>();
    for (let round = 0; round < 3; round++) {
      await store.append(numbered(0, 3));
      const batch = await store.peek(plenty);
      for (const { sequence } of batch.records) {
        assert.ok(!seen.has(sequence));
        seen.add(sequence);
      }
      await batch.commit();
    }
  });

  promise('an outage fails the calls during it, and none after it', async ({ t, under, open }) => {
    if (under.breakDown === undefined) return t.skip('rests on nothing that could fail');
    const store = await open();
    await store.append(numbered(0, 3));
    const batch = await store.peek(plenty);
    const mend = await under.breakDown(t);
    for (let call = 0; call < 3; call++) await rejectsWith(store.append(numbered(3, 2)), 'spool_unavailable');
    await rejectsWith(batch.commit(), 'spool_unavailable');
    await rejectsWith(store.deadLetter(batch.records[0]!, 'no'), 'spool_unavailable');
    await rejectsWith(store.requeue(), 'spool_unavailable');
    await mend();
    await store.append(numbered(3, 2));
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['0', '1', '2', '3', '4']);
    await batch.commit();
    assert.equal((await store.size()).records, 2);
  });

  promise('what waits is there when the spool is opened again, dead letters too', async ({ t, under, open, time }) => {
    if (!under.isDurable) return t.skip('does not outlive its process');
    const store = await open();
    await store.append(numbered(0, 6));
    const batch = await store.peek({ ...plenty, maxRecords: 2 });
    await store.deadLetter(batch.records[0]!, 'no');
    await batch.commit();
    const before = await store.size();
    await store.close();
    time.ms += 1_000;
    const again = await open();
    assert.deepEqual(await again.size(), { ...before, oldestSeconds: 1 });
    const rest = await again.peek(plenty);
    assert.deepEqual(textsOf(rest.records), ['2', '3', '4', '5']);
    await again.append(numbered(6, 1));
    assert.equal(await again.requeue(), 1);
    await batch.commit().catch(() => undefined);
    assert.deepEqual(textsOf((await again.peek(plenty)).records), ['2', '3', '4', '5', '6', '0']);
  });

  promise('a closed spool takes and gives nothing', async ({ open }) => {
    const store = await open();
    await store.close();
    await store.close();
    await rejectsWith(store.append(numbered(0, 1)), 'spool_unavailable');
  });

  promise('a command looks, exports and requeues while the spool is in use', async ({ t, under, open }) => {
    if (under.inspect === undefined) return t.skip('is one process alone');
    const store = await open();
    await store.append(numbered(0, 4));
    await store.deadLetter((await store.peek(plenty)).records[0]!, 'no');
    const beside = await under.inspect();
    assert.deepEqual(await beside.size(), await store.size());
    assert.deepEqual(
      (await lettersOf(beside)).map(({ raw }) => textOf(raw)),
      ['0'],
    );
    await store.append(numbered(4, 1));
    assert.equal((await beside.size()).records, 4);
    assert.equal(await beside.requeue(), 1);
    assert.deepEqual((await beside.peek(plenty)).records, []);
    await beside.close();
    await store.append(numbered(5, 1));
    const batch = await store.peek(plenty);
    assert.deepEqual(textsOf(batch.records), ['1', '2', '3', '4', '0', '5']);
    await batch.commit();
    assert.deepEqual(await store.size(), { records: 0, bytes: 0, oldestSeconds: 0, dead: 0 });
  });

  promise('what was appended is there after kill -9, each number once and in order', async ({ t, under, open }) => {
    if (under.startAppender === undefined) return t.skip('has no appender to kill');
    const lines = await killAfter(under.startAppender(), 30);
    const store = await open();
    const numbers: number[] = [];
    for (;;) {
      const batch = await store.peek(plenty);
      if (batch.records.length === 0) break;
      numbers.push(...textsOf(batch.records).map((text) => Number(text.split(' ')[0])));
      await batch.commit();
    }
    assert.deepEqual(numbers, [...numbers.keys()]);
    assert.ok(numbers.length > Number(lines.at(-1)), 'all that was told of');
  });
}

interface OpenSpool {
  readonly t: TestContext;
  readonly under: SpoolUnderTest;
  /** What the clock of the opened spools shows. */
  readonly time: { ms: number };
  open(maxBytes?: number): Promise<BackingStore>;
}

export async function rejectsWith(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof DaybookError, String(error));
    assert.equal(error.code, code);
    assert.equal(error.retry, true);
    return true;
  });
}

export async function lettersOf(store: BackingStore): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for await (const letter of store.deadLetters()) letters.push(letter);
  return letters;
}

export function record(text: string): AppendRecord {
  return { key: `key ${text}`, value: Buffer.from(text) };
}

/** Records whose value is their number. */
export function numbered(from: number, count: number): AppendRecord[] {
  return Array.from({ length: count }, (_, n) => record(`${from + n}`));
}

export function textsOf(records: readonly SpooledRecord[]): string[] {
  return records.map(({ value }) => textOf(value));
}

function textOf(value: Uint8Array): string {
  return Buffer.from(value).toString();
}

function shown({ key, value }: AppendRecord): { key: string; bytes: number; sum: string } {
  return { key, bytes: value.byteLength, sum: hash('sha256', value) };
}
