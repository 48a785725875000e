/** Each step of a redaction that fails before its effect, or after it, and programs killed at each: nothing is missed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { keepRedacting } from '../../ingest/redact/redact-stream.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { stripeRecord } from '../compactor/books.ts';
import {
  documentsIn,
  idsOf,
  openReaders,
  type Readers,
  type RedactChange,
  readLetters,
} from '../ingest/redact/redact-under-test.ts';
import { stripeEvents } from '../stripe/events.ts';
import { type Fault, faultyReader, faultyWriter } from './faulty.ts';
import { onStreamFile, snapshotStream } from './stream-snapshot.ts';

const running = new AbortController().signal;
const log = pino({ level: 'silent' });

function eventsNamed(seed: string, count: number): { ids: string[]; records: AppendRecord[] } {
  const made = stripeEvents({ count, seed, fromSeconds: 1_763_600_000, toSeconds: 1_763_603_600 });
  return { ids: made.map(({ id }) => id), records: made.map(({ text }) => stripeRecord(text)) };
}

const strangers: readonly AppendRecord[] = [1, 2, 3].map((n) => ({
  key: `s${n}`,
  value: Buffer.from(`stranger ${n}`),
}));

/** Every id is there, and a letter for each stranger; both may be there more than once. */
async function assertPassedOn(readers: Readers, ids: readonly string[]): Promise<{ repeated: number }> {
  const documents = idsOf(await documentsIn(readers.readersDirectory));
  assert.deepEqual([...new Set(documents)].sort(), [...ids].sort());
  const letters = await readers.letters();
  const places = new Set(letters.map(({ partition, position }) => `${partition}-${position}`));
  assert.equal(places.size, strangers.length);
  for (const letter of letters) {
    assert.deepEqual(Object.keys(letter), ['stream', 'partition', 'position', 'reason', 'at']);
    assert.doesNotMatch(JSON.stringify(letter), /stranger/);
  }
  return { repeated: documents.length - ids.length };
}

const steps = ['snapshot', 'read', 'append', 'dead_letter', 'commit'] as const;

/** Parts of which the n-th call of a step fails. */
function failing(step: (typeof steps)[number], at: number, fault: Fault): RedactChange {
  const decide = (operation: string, _: unknown, call: number) =>
    operation === step && call === at ? fault : undefined;
  let calls = 0;
  const failOnce = async (work: () => Promise<void>) => {
    calls += 1;
    const error = new DaybookError('stream_unavailable', { detail: 'injected' });
    if (calls === at && fault === 'before') throw error;
    await work();
    if (calls === at && fault === 'after') throw error;
  };
  return {
    stream: (reader) => faultyReader(reader, decide),
    readers: (writer) => faultyWriter(writer, decide),
    ...(step === 'commit' && {
      positions: (positions) => ({ ...positions, write: (all) => failOnce(() => positions.write(all)) }),
    }),
    ...(step === 'dead_letter' && {
      deadLetters: (letters) => ({ ...letters, write: (some) => failOnce(() => letters.write(some)) }),
    }),
  };
}

for (const step of steps) {
  for (const fault of ['before', 'after'] as const) {
    for (const at of [1, 2]) {
      test(`${step} fails ${fault} its effect, call ${at}: the next pass, and a restart, bring every event`, async (t) => {
        const readers = await openReaders();
        t.after(() => readers.close());
        const { ids, records } = eventsNamed(`${step} ${fault} ${at}`, 60);
        await readers.writer.append([...records.slice(0, 40), ...strangers]);

        const first = await readers.open(failing(step, at, fault));
        const isMetBy = () =>
          first.passOver(running).then(
            () => false,
            (error: unknown) => error instanceof DaybookError && error.retry,
          );
        const isMet = await isMetBy();
        if (at === 1) assert.ok(isMet, 'the fault was met');
        // A restart after the failure, with what comes meanwhile; and the same program going on.
        await readers.writer.append(records.slice(40));
        await (await readers.open()).passOver(running);
        const { repeated } = await assertPassedOn(readers, ids);
        if (!isMet) assert.equal(repeated, 0);
        // Of a step that a pass takes once the second call is only now.
        if (!isMet) await isMetBy();
        await first.passOver(running);
        await assertPassedOn(readers, ids);
      });
    }
  }
}

test('without a fault every event comes once, and a second pass and a restart bring nothing', async (t) => {
  const readers = await openReaders();
  t.after(() => readers.close());
  const { ids, records } = eventsNamed('plain', 60);
  await readers.writer.append([...records, ...strangers]);
  const redaction = await readers.open();
  await redaction.passOver(running);
  await redaction.passOver(running);
  await (await readers.open()).passOver(running);
  assert.deepEqual(await assertPassedOn(readers, ids), { repeated: 0 });
  assert.deepEqual(readers.counts, { redacted: 60, dead_lettered: 3, missed: 0, failed: [] });
  assert.equal(redaction.lag().records, 0);
});

test('what the readers’ stream will never take is told by its position, and holds nothing up', async (t) => {
  const readers = await openReaders();
  t.after(() => readers.close());
  const { ids, records } = eventsNamed('refused', 30);
  await readers.writer.append([...records, ...strangers.slice(0, 2)]);
  const { AppendError } = await import('../../shared/stream/append-error.ts');
  const redaction = await readers.open({
    readers: (writer) => ({
      ...writer,
      async append(some) {
        const refused = [...some.keys()].filter((at) => some[at]!.key === ids[7]);
        if (refused.length === 0) return writer.append(some);
        throw new AppendError([...some.keys()], { detail: 'too large', retry: false, refused });
      },
    }),
  });
  await redaction.passOver(running);
  await assertPassedOn(
    readers,
    ids.filter((_, at) => at !== 7),
  );
  const reasons = (await readers.letters()).map(({ reason }) => reason);
  assert.deepEqual(
    reasons.filter((reason) => reason !== 'no data member'),
    ["the readers' stream refuses it: too large"],
  );
});

for (const count of [5, 10, 30]) {
  test(`a stream put back to a snapshot from before 10 events, after which ${count} come: all of them are passed on`, async (t) => {
    const readers = await openReaders();
    t.after(() => readers.close());
    const { ids, records } = eventsNamed('put back', 31 + count);
    const inOnePartition = records.map(({ value }) => ({ key: 'one', value }));
    await readers.writer.append(inOnePartition.slice(0, 20));
    const putBack = snapshotStream(readers.directory);
    await readers.writer.append(inOnePartition.slice(20, 30));
    const redaction = await readers.open();
    await redaction.passOver(running);
    putBack();
    await readers.writer.append(inOnePartition.slice(30, -1));
    // The program that runs on sees no difference where just as many came as were lost, until one more does.
    await redaction.passOver(running);
    const assertAll = async (some: readonly string[]) =>
      assert.deepEqual([...new Set(idsOf(await documentsIn(readers.readersDirectory)))].sort(), some.toSorted());
    if (count !== 10) await assertAll(ids.slice(0, -1));
    await readers.writer.append(inOnePartition.slice(-1));
    await redaction.passOver(running);
    await assertAll(ids);
  });

  test(`the same, and ${count} come before the program is started again`, async (t) => {
    const readers = await openReaders();
    t.after(() => readers.close());
    const { ids, records } = eventsNamed('put back', 30 + count);
    const inOnePartition = records.map(({ value }) => ({ key: 'one', value }));
    await readers.writer.append(inOnePartition.slice(0, 20));
    const putBack = snapshotStream(readers.directory);
    await readers.writer.append(inOnePartition.slice(20, 30));
    await (await readers.open()).passOver(running);
    putBack();
    await readers.writer.append(inOnePartition.slice(30));
    await (await readers.open()).passOver(running);
    const documents = idsOf(await documentsIn(readers.readersDirectory));
    assert.deepEqual([...new Set(documents)].sort(), ids.toSorted());
    assert.equal(documents.length, 30 + 20 + count);
  });
}

test('never is more than one partition’s reading open, and with it what it read', async (t) => {
  const readers = await openReaders();
  t.after(() => readers.close());
  const { ids, records } = eventsNamed('one at a time', 40);
  await readers.writer.append([...records, ...strangers]);
  let [open, most] = [0, 0];
  const redaction = await readers.open({
    stream: (reader) => ({
      ...reader,
      async *read(partition, from, snapshot) {
        open += 1;
        most = Math.max(most, open);
        try {
          yield* reader.read(partition, from, snapshot);
        } finally {
          open -= 1;
        }
      },
    }),
  });
  await redaction.passOver(running);
  await assertPassedOn(readers, ids);
  assert.deepEqual({ open, most }, { open: 0, most: 1 });
});

test('positions are written once in a pass that moves them, and once an hour while nothing comes', async (t) => {
  const readers = await openReaders();
  t.after(() => readers.close());
  let nowMs = 0;
  let writes = 0;
  const redaction = await readers.open({
    clock: { now: () => new Date(nowMs) },
    positions: (positions) => ({
      ...positions,
      async write(places) {
        writes += 1;
        await positions.write(places);
      },
    }),
  });
  const written: number[] = [];
  const { records } = eventsNamed('quiet', 1);
  for (const pass of ['empty', 'moved', 'quiet', 'an hour later', 'quiet']) {
    if (pass === 'moved') await readers.writer.append(records);
    if (pass === 'an hour later') nowMs += 3_600_000;
    await redaction.passOver(running);
    written.push(writes);
  }
  assert.deepEqual(written, [0, 1, 1, 2, 2]);
});

test('a stretch that aged out unread is counted once, and what is behind it comes', async (t) => {
  const readers = await openReaders();
  t.after(() => readers.close());
  const { ids, records } = eventsNamed('hole', 20);
  const inOnePartition = records.map(({ value }) => ({ key: 'one', value }));
  await readers.writer.append(inOnePartition.slice(0, 10));
  const redaction = await readers.open();
  await redaction.passOver(running);
  await readers.writer.append(inOnePartition.slice(10));
  onStreamFile(readers.directory, (file) => {
    for (let partition = 0; partition < 4; partition++)
      file.exec(`DELETE FROM records_${partition} WHERE position < 15`);
  });
  await redaction.passOver(running);
  const documents = idsOf(await documentsIn(readers.readersDirectory));
  assert.deepEqual(documents.sort(), [...ids.slice(0, 10), ...ids.slice(15)].sort());
  assert.equal(readers.counts.missed, 1);
});

test('passes go on after failures that may pass, wait longer after each, and end with one that does not pass', async (t) => {
  const readers = await openReaders();
  t.after(() => readers.close());
  const { ids, records } = eventsNamed('going on', 40);
  await readers.writer.append([...records, ...strangers]);
  let isBroken = false;
  const change = failing('append', 1, 'after');
  const redaction = await readers.open({
    ...change,
    stream: (reader) => ({
      ...reader,
      snapshot: async () => {
        if (isBroken) throw new DaybookError('stream_damaged');
        return reader.snapshot();
      },
    }),
  });
  const told: boolean[] = [];
  const hear = (isWell: boolean) => {
    told.push(isWell);
    if (told.length === 3) isBroken = true;
  };
  const pace = { everyMs: 1, minPauseMs: 1, maxPauseMs: 2 };
  await assert.rejects(keepRedacting(redaction, running, hear, log, pace), { code: 'stream_damaged' });
  assert.deepEqual(told, [false, true, true, false]);
  assert.deepEqual(readers.counts.failed, ['append', 'read']);
  await assertPassedOn(readers, ids);
});

const main = fileURLToPath(new URL('../../ingest/main.ts', import.meta.url));
const preload = new URL('ingest-kill.ts', import.meta.url).href;

async function runRedact(t: TestContext, readers: Readers, kill: Readonly<Record<string, string>>): Promise<string> {
  const child = spawn(process.execPath, ['--import', preload, main, 'redact', '--once'], {
    cwd: readers.directory,
    env: {
      PATH: process.env.PATH,
      DAYBOOK_DATA_DIR: readers.directory,
      DAYBOOK_READERS_STREAM: '{"type":"embedded"}',
      LOG_LEVEL: 'silent',
      ...kill,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [code, signal] = await once(child, 'exit');
  return String(signal ?? code);
}

for (const step of ['append', 'place']) {
  for (const way of ['before', 'after']) {
    test(`killed at each ${step}, ${way} its effect: run again and again, every event comes`, async (t) => {
      const readers = await openReaders();
      t.after(() => readers.close());
      const { ids, records } = eventsNamed(`killed ${step} ${way}`, 30);
      await readers.writer.append([...records, ...strangers]);
      const ends: string[] = [];
      for (let at = 1; ends.at(-1) !== '0'; at++) {
        ends.push(await runRedact(t, readers, { KILL_STEP: step, KILL_AT: `${at}`, KILL_WAY: way }));
        assert.match(ends.at(-1)!, /^(?:SIGKILL|0)$/);
      }
      assert.ok(ends.length >= 2, 'it was killed');
      const letters = await readLetters(join(readers.directory, 'redact', 'dead-letters.jsonl'));
      assert.ok(letters.length >= 3);
      await assertPassedOn(readers, ids);
    });
  }
}
