/** What every stream driver keeps. A driver's test joins with a factory; each test gets a new, empty stream. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { hash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type {
  AppendRecord,
  Cursor,
  EventStreamReader,
  EventStreamWriter,
  StreamEntry,
  StreamSnapshot,
} from '../../shared/stream/stream.ts';
import { killAfter } from './kill-after.ts';

export interface StreamUnderTest {
  openWriter(): Promise<EventStreamWriter>;
  openReader(consumer: string): Promise<EventStreamReader>;
  /** Absent where the service keeps no positions for its consumers. */
  readonly keepsCommitted?: boolean;
  /**
   * Starts a process that appends to this stream without end, several calls at a time, under the keys a, b, c and d.
   * The value begins with `<key> <number> `, numbers counting from 0 for each key; a line of that on stdout follows each
   * acknowledgement.
   */
  startAppender?(): ChildProcess;
  remove(): Promise<void>;
}

export function eventStreamContract(name: string, factory: () => Promise<StreamUnderTest>): void {
  const promise = (sentence: string, check: (stream: OpenStream) => Promise<void>) =>
    test(`${name}: ${sentence}`, async (t) => {
      const stream = await factory();
      const opened: { close(): Promise<void> }[] = [];
      const keep = async <T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T> => {
        const one = await opening;
        opened.push(one);
        return one;
      };
      try {
        await check({
          under: stream,
          writer: () => keep(stream.openWriter()),
          reader: (consumer = 'contract') => keep(stream.openReader(consumer)),
          skip: (why) => t.skip(why),
        });
      } finally {
        for (const one of opened) await one.close();
        await stream.remove();
      }
    });

  promise('what was appended is read back byte for byte', async ({ writer, reader }) => {
    const values = [
      randomBytes(4_096),
      Buffer.from([0]),
      Buffer.from([0xff, 0xfe, 0x00, 0x0a, 0x80]),
      Buffer.from('{}'),
    ];
    await (await writer()).append(values.map((value, index) => ({ key: `k${index}`, value })));
    const read = valuesOf(await readAll(await reader()));
    assert.deepEqual(read.map(hex).sort(), values.map(hex).sort());
  });

  promise('an append of nothing resolves, and a probe writes nothing', async ({ writer, reader }) => {
    const one = await writer();
    await one.append([]);
    await one.probe();
    assert.equal(valuesOf(await readAll(await reader())).length, 0);
  });

  promise(
    'a writer proves what it wrote, before the first append and after others, and writes nothing by it',
    async ({ writer, reader }) => {
      const one = await writer();
      await one.prove();
      for (const from of [0, 5]) {
        await one.append(numbered('k', from, 5));
        await one.prove();
      }
      assert.equal(valuesOf(await readAll(await reader())).length, 10);
    },
  );

  promise('an empty stream has partitions, an id and no records', async ({ writer, reader }) => {
    await writer();
    const one = await reader();
    const snapshot = await one.snapshot();
    assert.ok(snapshot.partitions.size >= 2);
    assert.notEqual(snapshot.id, '');
    for (const partition of snapshot.partitions.keys()) {
      assert.deepEqual(await entriesOf(one, partition, undefined, snapshot), []);
    }
  });

  promise('records of one key keep their order, within a call and from call to call', async ({ writer, reader }) => {
    const one = await writer();
    const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);
    for (let call = 0; call < 5; call++) {
      await one.append([0, 1, 2].flatMap((n) => keys.map((key) => record(key, `${key} ${call * 3 + n}`))));
    }
    const partitions = await readAll(await reader());
    for (const key of keys) {
      const holding = [...partitions.values()].filter((entries) => entries.some((entry) => isOf(entry, key)));
      assert.equal(holding.length, 1, 'a key is in one partition');
      const numbers = holding[0]!.filter((entry) => isOf(entry, key)).map((entry) => textOf(entry).split(' ')[1]);
      assert.deepEqual(
        numbers,
        Array.from({ length: 15 }, (_, n) => `${n}`),
      );
    }
    assert.ok([...partitions.values()].filter((entries) => entries.length > 0).length >= 2, 'keys spread');
  });

  promise('reading ends where the snapshot stood, though more is appended meanwhile', async ({ writer, reader }) => {
    const one = await writer();
    const before = numbered('k', 0, 200);
    await one.append(before);
    const eyes = await reader();
    const snapshot = await eyes.snapshot();
    const read: string[] = [];
    let more = 200;
    for (const [partition, { end }] of snapshot.partitions) {
      for await (const batch of eyes.read(partition, undefined, snapshot)) {
        for (const entry of batch.entries) {
          if (end !== undefined) assert.ok(entry.after <= end);
          read.push(textOf(entry));
        }
        await one.append(numbered('k', more, 10));
        more += 10;
      }
      await one.append(numbered('k', more, 10));
      more += 10;
    }
    const early = new Set(before.map(({ value }) => Buffer.from(value).toString()));
    assert.equal(read.filter((text) => early.has(text)).length, 200);
    if ([...snapshot.partitions.values()].every(({ end }) => end !== undefined)) assert.equal(read.length, 200);
    assert.equal(valuesOf(await readAll(eyes)).length, more, 'a later snapshot sees the rest');
  });

  promise('each entry begins at or past the end of the one before it', async ({ writer, reader }) => {
    const one = await writer();
    for (let call = 0; call < 4; call++) await one.append(numbered('k', call * 50, 50));
    for (const entries of (await readAll(await reader())).values()) {
      for (const [index, entry] of entries.entries()) {
        assert.ok(entry.before < entry.after);
        if (index > 0) assert.ok(entry.before >= entries[index - 1]!.after);
      }
    }
  });

  promise('reading goes on from any cursor, after any record or before it', async ({ writer, reader }) => {
    await (await writer()).append(numbered('k', 0, 40));
    const one = await reader();
    const snapshot = await one.snapshot();
    for (const [partition, entries] of await readAll(one)) {
      for (const [index, entry] of entries.entries()) {
        const rest = await entriesOf(one, partition, entry.after, snapshot);
        assert.deepEqual(rest.map(textOf), entries.slice(index + 1).map(textOf));
        const again = await entriesOf(one, partition, entry.before, snapshot);
        assert.deepEqual(again.map(textOf), entries.slice(index).map(textOf));
      }
    }
  });

  promise('reading ends at an end to which another reading came, by a snapshot put together again', async (stream) => {
    await (await stream.writer()).append(numbered('k', 0, 40));
    const [one, other] = [await stream.reader(), await stream.reader()];
    const { id, madeAtMs } = await one.snapshot();
    await (await stream.writer()).append(numbered('k', 40, 40));
    for (const [partition, entries] of await readAll(one)) {
      const [first, , third] = entries;
      if (first === undefined || third === undefined) continue;
      const partitions = new Map([[partition, { end: third.after }]]);
      const said = { id, partitions, ...(madeAtMs === undefined ? {} : { madeAtMs }) };
      const read = await entriesOf(other, partition, first.after, said);
      assert.deepEqual(read.map(textOf), entries.slice(1, 3).map(textOf));
      assert.deepEqual(await entriesOf(other, partition, third.after, said), []);
    }
  });

  promise('a cursor past the end gives nothing', async ({ writer, reader }) => {
    await (await writer()).append(numbered('k', 0, 20));
    const one = await reader();
    const snapshot = await one.snapshot();
    for (const [partition, entries] of await readAll(one)) {
      const past = (entries.at(-1)?.after ?? 0n) + 1_000_000n;
      assert.deepEqual(await entriesOf(one, partition, past, snapshot), []);
      assert.equal(await one.recordBefore(partition, past), undefined);
    }
  });

  promise(
    'recordBefore gives the record that ends at a cursor, and none before the first',
    async ({ writer, reader }) => {
      await (await writer()).append(numbered('k', 0, 20));
      const one = await reader();
      for (const [partition, entries] of await readAll(one)) {
        for (const entry of entries) {
          const { value, appendedMs } = (await one.recordBefore(partition, entry.after))!;
          assert.deepEqual([hex(value), appendedMs], [hex(entry.value), entry.appendedMs]);
        }
        const first = entries[0];
        if (first !== undefined) assert.equal(await one.recordBefore(partition, first.before), undefined);
      }
    },
  );

  promise('equal records are kept as often as they were appended', async ({ writer, reader }) => {
    const one = await writer();
    for (let call = 0; call < 3; call++) await one.append([record('same', 'same'), record('same', 'same')]);
    assert.deepEqual(valuesOf(await readAll(await reader())).map(String), Array(6).fill('same'));
  });

  promise('records of 900 KB come through whole', async ({ writer, reader }) => {
    const one = await writer();
    const bytes = Math.min(one.maxValueBytes ?? 900_000, 900_000);
    const values = Array.from({ length: 6 }, () => randomBytes(bytes));
    for (const [index, value] of values.entries()) await one.append([{ key: `big-${index % 2}`, value }]);
    const read = valuesOf(await readAll(await reader()));
    assert.deepEqual(read.map(sum).sort(), values.map(sum).sort());
  });

  promise('of many appends at once every record is there, once', async ({ writer, reader }) => {
    const writers = [await writer(), await writer()];
    await Promise.all(
      Array.from({ length: 100 }, (_, call) => writers[call % 2]!.append(numbered(`key-${call}`, call * 5, 5))),
    );
    const read = valuesOf(await readAll(await reader())).map((value) => Number(value.toString().split(' ')[1]));
    assert.deepEqual(
      read.sort((a, b) => a - b),
      Array.from({ length: 500 }, (_, n) => n),
    );
  });

  promise('a stream that is opened again is the same stream', async ({ writer, reader }) => {
    const first = await writer();
    await first.append(numbered('k', 0, 10));
    const before = await reader();
    const { id } = await before.snapshot();
    await first.close();
    await before.close();
    await (await writer()).append(numbered('k', 10, 10));
    const after = await reader();
    assert.equal((await after.snapshot()).id, id);
    assert.equal(valuesOf(await readAll(after)).length, 20);
  });

  promise(
    'committed positions outlive the reader, and are those of one consumer',
    async ({ under, writer, reader, skip }) => {
      if (under.keepsCommitted !== true) return skip('keeps no positions');
      await (await writer()).append(numbered('k', 0, 40));
      const one = await reader('first');
      assert.deepEqual([...(await one.committed())], []);
      const ends = new Map(
        [...(await readAll(one))].flatMap(([partition, entries]) => {
          const last = entries.at(-1);
          return last === undefined ? [] : [[partition, last.after] as const];
        }),
      );
      await one.commit(ends);
      await one.commit(ends);
      await one.close();

      const again = await reader('first');
      assert.deepEqual(sorted(await again.committed()), sorted(ends));
      assert.deepEqual([...(await (await reader('second')).committed())], []);

      const [named] = ends.keys();
      const first = (await readAll(again)).get(named!)![0]!;
      await again.commit(new Map([[named!, first.after]]));
      assert.deepEqual(sorted(await again.committed()), sorted(new Map([...ends, [named!, first.after]])));
      assert.equal(valuesOf(await readAll(again)).length, 40, 'committing alone removes nothing young');
    },
  );

  promise('every acknowledged record is there after kill -9 of the writer', async ({ under, writer, reader, skip }) => {
    if (under.startAppender === undefined) return skip('has no appender to kill');
    const acknowledged = await killAfter(under.startAppender(), 200);
    await (await writer()).append([record('after', 'after 0 ')]);
    const numbers = new Map<string, number[]>();
    for (const entries of (await readAll(await reader())).values()) {
      for (const entry of entries) {
        const [key, number] = textOf(entry).split(' ');
        numbers.set(key!, [...(numbers.get(key!) ?? []), Number(number)]);
      }
    }
    for (const line of acknowledged) {
      const [key, number] = line.split(' ');
      assert.ok(numbers.get(key!)?.includes(Number(number)), `${line} was acknowledged`);
    }
    for (const read of numbers.values()) assert.deepEqual(read, [...read.keys()], 'in order, none between missing');
    assert.deepEqual(numbers.get('after'), [0]);
  });
}

interface OpenStream {
  readonly under: StreamUnderTest;
  writer(): Promise<EventStreamWriter>;
  reader(consumer?: string): Promise<EventStreamReader>;
  skip(why: string): void;
}

export async function readAll(reader: EventStreamReader): Promise<Map<string, StreamEntry[]>> {
  const snapshot = await reader.snapshot();
  const partitions = new Map<string, StreamEntry[]>();
  for (const partition of snapshot.partitions.keys()) {
    partitions.set(partition, await entriesOf(reader, partition, undefined, snapshot));
  }
  return partitions;
}

export async function entriesOf(
  reader: EventStreamReader,
  partition: string,
  from: Cursor | undefined,
  snapshot: StreamSnapshot,
): Promise<StreamEntry[]> {
  const entries: StreamEntry[] = [];
  for await (const batch of reader.read(partition, from, snapshot)) {
    assert.equal(batch.hole, undefined);
    entries.push(...batch.entries);
  }
  return entries;
}

export function record(key: string, text: string): AppendRecord {
  return { key, value: Buffer.from(text) };
}

/** Records `<key>-<n mod 7>`, values `<key> <n>`. */
export function numbered(key: string, from: number, count: number): AppendRecord[] {
  return Array.from({ length: count }, (_, n) => record(`${key}-${(from + n) % 7}`, `${key} ${from + n}`));
}

export function textOf(entry: StreamEntry): string {
  return Buffer.from(entry.value).toString();
}

export function valuesOf(partitions: ReadonlyMap<string, readonly StreamEntry[]>): Buffer[] {
  return [...partitions.values()].flat().map(({ value }) => Buffer.from(value));
}

function isOf(entry: StreamEntry, key: string): boolean {
  return textOf(entry).startsWith(`${key} `);
}

function hex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}

function sum(value: Uint8Array): string {
  return hash('sha256', value);
}

function sorted(positions: ReadonlyMap<string, Cursor>): [string, Cursor][] {
  return [...positions].sort(([a], [b]) => (a < b ? -1 : 1));
}
