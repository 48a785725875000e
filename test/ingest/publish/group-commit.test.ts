import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { defaultLimits, openGroupCommit } from '../../../ingest/publish/group-commit.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { AppendError } from '../../../shared/stream/append-error.ts';
import type { AppendRecord } from '../../../shared/stream/stream.ts';
import { memoryWriter, targetOf } from '../ingest-under-test.ts';

const fast = { ...defaultLimits, minRetryPauseMs: 1, maxRetryPauseMs: 5 };

function record(text: string, key = 'k'): AppendRecord {
  return { key, value: Buffer.from(text) };
}

const texts = (records: readonly AppendRecord[]) => records.map(({ value }) => Buffer.from(value).toString());

async function outcome(call: Promise<void>): Promise<string> {
  return call.then(
    () => 'ok',
    (error) => (error instanceof DaybookError ? error.code : `unexpected ${error}`),
  );
}

test('64 concurrent calls share far fewer appends, in the order of their calls', async () => {
  const writer = memoryWriter();
  const commit = openGroupCommit(targetOf(writer));
  await Promise.all(Array.from({ length: 64 }, (_, n) => commit.append([record(`${n}`)], 1000)));
  assert.deepEqual(writer.appends, [64]);
  assert.deepEqual(
    texts(writer.records),
    Array.from({ length: 64 }, (_, n) => `${n}`),
  );
  await commit.close();
});

test('one append is in flight at a time; what comes meanwhile makes up the next', async () => {
  const writer = memoryWriter();
  const gate = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  let inFlight = 0;
  writer.intercept = async () => {
    assert.equal(++inFlight, 1);
    started.resolve();
    await gate.promise;
    inFlight--;
  };
  const commit = openGroupCommit(targetOf(writer));
  const first = commit.append([record('first')], 1000);
  await started.promise;
  const later = ['a', 'b', 'c'].map((text) => commit.append([record(text)], 1000));
  gate.resolve();
  await Promise.all([first, ...later]);
  assert.deepEqual(writer.appends, [1, 3]);
  await commit.close();
});

test('under load a batch waits for company as long as appends take; one that was slow is not waited for, nor who comes alone', async () => {
  const writer = memoryWriter();
  let appendMs = 50;
  // Like a commit to a disk: nothing else runs meanwhile.
  writer.intercept = async () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, appendMs);
  };
  const commit = openGroupCommit(targetOf(writer), { ...fast, minLingerMs: 0, maxLingerMs: 10_000 });
  const append = (text: string) => commit.append([record(text)], 10_000);
  const soonAfter = (text: string) => new Promise((resolve) => setTimeout(() => resolve(append(text)), 5));
  const together = () => Promise.all([append('a'), append('b')]);
  const apart = () => Promise.all([append('c'), soonAfter('d')]);
  await together();
  await together();
  await apart();
  assert.deepEqual(writer.appends, [2, 2, 2]);
  appendMs = 0;
  await append('e');
  await apart();
  assert.deepEqual(writer.appends.slice(3), [1, 1, 1]);
  await together();
  appendMs = 50;
  await together();
  appendMs = 0;
  await apart();
  assert.deepEqual(writer.appends.slice(6), [2, 2, 1, 1]);
  await commit.close();
});

test('a batch is bounded in records and in bytes; a larger call goes alone and whole', async () => {
  const writer = memoryWriter();
  const commit = openGroupCommit(targetOf(writer), { ...fast, maxBatchRecords: 3, maxBatchBytes: 2000 });
  const large = Array.from({ length: 5 }, (_, n) => record(`large ${n}`));
  await Promise.all([
    commit.append([record('1')], 1000),
    commit.append([record('2')], 1000),
    commit.append(large, 1000),
    commit.append([record('x'.repeat(1500))], 1000),
    commit.append([record('y'.repeat(1500))], 1000),
  ]);
  assert.deepEqual(writer.appends, [2, 5, 1, 1]);
  await commit.close();
});

test('the failure of one record is that of its own caller', async () => {
  const writer = memoryWriter();
  writer.intercept = (records) => {
    const poison = [...records.keys()].filter((index) => texts(records)[index]!.startsWith('poison'));
    if (poison.length > 0) throw new AppendError([...records.keys()], { retry: false });
  };
  const commit = openGroupCommit(targetOf(writer), fast);
  const outcomes = await Promise.all(
    ['a', 'poison', 'b', 'c'].map((text) => outcome(commit.append([record(text)], 1000))),
  );
  assert.deepEqual(outcomes, ['ok', 'stream_unavailable', 'ok', 'ok']);
  assert.deepEqual(texts(writer.records), ['a', 'b', 'c']);
  await commit.close();
});

test('after a transient failure only what was not acknowledged is tried again', async () => {
  const writer = memoryWriter();
  let failures = 3;
  writer.intercept = (records) => {
    if (failures-- <= 0) return;
    // All but the last record got through.
    writer.records.push(...records.slice(0, -1));
    throw new AppendError([records.length - 1], { retry: true });
  };
  const commit = openGroupCommit(targetOf(writer), fast);
  await Promise.all([commit.append([record('a'), record('b')], 1000), commit.append([record('c')], 1000)]);
  assert.deepEqual(texts(writer.records), ['a', 'b', 'c']);
  assert.deepEqual(writer.appends, [3, 1, 1, 1]);
  await commit.close();
});

test('past its deadline a call rejects; one that was never in flight is not appended later', async () => {
  const writer = memoryWriter();
  const gate = Promise.withResolvers<void>();
  writer.intercept = () => gate.promise;
  const commit = openGroupCommit(targetOf(writer));
  const inFlight = outcome(commit.append([record('in flight')], 30));
  while (writer.appends.length === 0) await new Promise(setImmediate);
  const waiting = outcome(commit.append([record('waiting')], 20));
  assert.equal(await waiting, 'stream_unavailable');
  assert.equal(await inFlight, 'stream_unavailable');
  gate.resolve();
  await commit.append([record('next')], 1000);
  assert.deepEqual(texts(writer.records), ['in flight', 'next']);
  await commit.close();
});

test('a call that expired while in flight is not tried again when that append fails', async () => {
  const writer = memoryWriter();
  const gate = Promise.withResolvers<void>();
  writer.intercept = async (records) => {
    await gate.promise;
    throw new AppendError([...records.keys()], { retry: true });
  };
  const commit = openGroupCommit(targetOf(writer), fast);
  assert.equal(await outcome(commit.append([record('expired')], 10)), 'stream_unavailable');
  assert.deepEqual(writer.appends, [1]);
  writer.intercept = undefined;
  const next = commit.append([record('next')], 1000);
  gate.resolve();
  await next;
  await commit.close();
  assert.deepEqual(texts(writer.records), ['next']);
});

test('what waits is bounded in bytes: above, a call is overloaded, and room comes back with the stream', async () => {
  const writer = memoryWriter();
  const gate = Promise.withResolvers<void>();
  writer.intercept = () => gate.promise;
  const commit = openGroupCommit(targetOf(writer), { ...fast, maxQueuedBytes: 10_000 });
  const kept = [commit.append([record('x'.repeat(9000))], 1000)];
  assert.equal(await outcome(commit.append([record('y'.repeat(2000))], 1000)), 'overloaded');
  gate.resolve();
  await Promise.all(kept);
  // Larger than the whole queue: let in while nothing waits, else it never would be.
  await commit.append([record('z'.repeat(20_000))], 1000);
  await commit.close();
});

test('expired and failed calls give their bytes back', async () => {
  const writer = memoryWriter();
  const commit = openGroupCommit(targetOf(writer), { ...fast, maxQueuedBytes: 10_000 });
  for (const retry of [false, true]) {
    writer.intercept = (records) => {
      throw new AppendError([...records.keys()], { retry });
    };
    for (let round = 0; round < 5; round++) {
      const calls = [1, 2].map(() => outcome(commit.append([record('x'.repeat(3000))], 15)));
      assert.deepEqual(await Promise.all(calls), ['stream_unavailable', 'stream_unavailable']);
    }
  }
  writer.intercept = undefined;
  await Promise.all([1, 2].map(() => commit.append([record('x'.repeat(4000))], 1000)));
  await commit.close();
});

test('closing rejects what waits, ends the retries of a stream that is down, and lets the append in flight end', async () => {
  const writer = memoryWriter();
  const down = openGroupCommit(targetOf(writer), fast);
  writer.intercept = (records) => {
    throw new AppendError([...records.keys()], { retry: true });
  };
  const retrying = outcome(down.append([record('a')], 60_000));
  while (writer.appends.length < 3) await new Promise(setImmediate);
  await down.close();
  assert.equal(await retrying, 'stream_unavailable');
  assert.equal(await outcome(down.append([record('b')], 1000)), 'stream_unavailable');

  const gate = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  writer.intercept = () => {
    started.resolve();
    return gate.promise;
  };
  const commit = openGroupCommit(targetOf(writer));
  const inFlight = outcome(commit.append([record('in flight')], 1000));
  await started.promise;
  const waiting = outcome(commit.append([record('waiting')], 1000));
  const closed = commit.close();
  assert.equal(await waiting, 'stream_unavailable');
  gate.resolve();
  await closed;
  assert.equal(await inFlight, 'ok');
});

test('whatever fails, a call that resolves is in the stream', async () => {
  const fault = fc.constantFrom('none', 'some', 'all before', 'all after', 'for good');
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 12 }),
      fc.array(fault, { maxLength: 8 }),
      async (sizes, faults) => {
        const writer = memoryWriter();
        let append = 0;
        writer.intercept = (records) => {
          const now = faults[append++] ?? 'none';
          const all = [...records.keys()];
          if (now === 'some') {
            writer.records.push(...records.filter((_, index) => index % 2 === 0));
            throw new AppendError(
              all.filter((index) => index % 2 === 1),
              { retry: true },
            );
          }
          if (now === 'all after') writer.records.push(...records);
          if (now !== 'none') throw new AppendError(all, { retry: now !== 'for good' });
        };
        const commit = openGroupCommit(targetOf(writer), {
          ...fast,
          minLingerMs: 0,
          maxLingerMs: 0,
          maxBatchRecords: 5,
        });
        const calls = sizes.map((size, call) =>
          Array.from({ length: size }, (_, index) => record(`${call}.${index}`, `key ${call}`)),
        );
        const outcomes = await Promise.all(calls.map((records) => outcome(commit.append(records, 2000))));
        await commit.close();
        for (const [call, records] of calls.entries()) {
          const stored = texts(writer.records.filter(({ key }) => key === `key ${call}`));
          if (outcomes[call] !== 'ok') continue;
          for (const text of texts(records))
            assert.ok(stored.includes(text), `${text} was acknowledged and is not there`);
        }
      },
    ),
    { numRuns: 60 },
  );
});
