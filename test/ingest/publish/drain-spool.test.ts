import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { noObserver } from '../../../ingest/publish/observer.ts';
import { openPublishing, publishOrSpool } from '../../../ingest/publish-or-spool.ts';
import { systemClock } from '../../../shared/clock.ts';
import type { EventStreamWriter } from '../../../shared/stream/stream.ts';
import { memorySpool, until } from '../ingest-under-test.ts';

test('what the spool finds unreadable counts as dead-lettered, also where nothing else waits', async (t) => {
  const store = await memorySpool();
  const damages = [2, 1];
  let counted = 0;
  const publishing = await openPublishing({
    writer: {
      maxValueBytes: undefined,
      append: async () => {},
      probe: async () => {},
      prove: async () => {},
      close: async () => {},
    },
    store: { ...store, peek: async (limit) => ({ ...(await store.peek(limit)), damaged: damages.pop() ?? 0 }) },
    deadlineMs: 5_000,
    clock: systemClock,
    observer: {
      ...noObserver,
      deadLettered(records) {
        counted += records;
      },
    },
    log: pino({ level: 'silent' }),
    isStreamAway: true,
  });
  t.after(async () => {
    await publishing.stop();
    await publishing.finish(0, false);
  });
  await until(async () => counted === 3);
});

test('a sender is answered while a spool is drained that answers at once into a stream that does, too', async (t) => {
  const store = await memorySpool();
  const value = Buffer.from('left by a former run');
  const left = Array.from({ length: 100_000 }, (_, number) => ({ key: `${number}`, value }));
  await store.append(left);
  let appended = 0;
  const writer: EventStreamWriter = {
    maxValueBytes: undefined,
    async append(records) {
      appended += records.length;
    },
    async probe() {},
    async prove() {},
    async close() {},
  };
  const publishing = await openPublishing({
    writer,
    store,
    deadlineMs: 5_000,
    clock: systemClock,
    observer: noObserver,
    log: pino({ level: 'silent' }),
  });
  t.after(async () => {
    await publishing.stop();
    await publishing.finish(0, false);
  });
  await publishOrSpool([{ key: 'new', value: Buffer.from('new') }], publishing);
  assert.notEqual((await store.size()).records, 0);
  await until(async () => (await store.size()).records === 0);
  assert.equal(appended, left.length + 1);
});
