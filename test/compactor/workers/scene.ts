/** Nights with all that one can meet, the same for any number of workers; and what an archive says, whoever wrote it. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { SplitShardCommand } from '@aws-sdk/client-kinesis';
import { pino } from 'pino';
import type { NightReport, NightSource } from '../../../compactor/night.ts';
import { addDays, type Day } from '../../../shared/clock.ts';
import { openKinesisReader } from '../../../shared/stream/kinesis/reader.ts';
import { openKinesisWriter } from '../../../shared/stream/kinesis/writer.ts';
import type { AppendRecord } from '../../../shared/stream/stream.ts';
import { assertBooks } from '../../faults/night-books.ts';
import { createStream, deleteStream, kinesisClock, openKinesis, untilActive } from '../../services/kinesis-streams.ts';
import type { FakeStripe } from '../../stripe/fake-stripe.ts';
import { thinEvent } from '../../stripe/thin-events.ts';
import { type Books, eventRecord, type NightChange, stripeRecord } from '../books.ts';
import { eventsOf } from '../stripe/stripe-nights.ts';

export const waitSeconds = 30;

/** Books whose deliveries go to a Kinesis stream, from which each night reads by a reader of its own. */
export async function openOnKinesis(
  t: TestContext,
  books: Books,
  endpoint: string,
): Promise<{ readonly books: Books; readonly split?: () => Promise<void> }> {
  const client = openKinesis(endpoint);
  const StreamName = await createStream(client, 2);
  const params = { streamName: StreamName, endpoint, region: 'us-east-1' };
  const log = pino({ level: 'silent' });
  const writer = await openKinesisWriter({ params, log });
  t.after(async () => {
    await writer.close();
    await deleteStream(client, StreamName);
    client.destroy();
  });
  return {
    books: {
      ...books,
      deliver: (...records) => writer.append(records),
      async night(sources, { stream: wrap, ...change } = {}) {
        const reader = await openKinesisReader({ params, clock: kinesisClock, log });
        try {
          return await books.night(sources, { ...change, stream: () => wrap?.(reader) ?? reader });
        } finally {
          await reader.close();
        }
      },
    },
    async split() {
      const NewStartingHashKey = String(2n ** 126n);
      await client.send(
        new SplitShardCommand({ StreamName, ShardToSplit: 'shardId-000000000000', NewStartingHashKey }),
      );
      await untilActive(client, StreamName);
    },
  };
}

/** A night by `count` workers at once; undefined: by one that knows of none. The reports are alike. */
export async function nightOf(
  books: Books,
  sources: readonly NightSource[],
  count: number | undefined,
  changeOf: (index: number) => NightChange = () => ({}),
): Promise<NightReport> {
  if (count === undefined) return books.night(sources, changeOf(0));
  const night = (index: number) => books.night(sources, { worker: { index, count, waitSeconds }, ...changeOf(index) });
  const reports = await Promise.all(Array.from({ length: count }, (_, index) => night(index)));
  for (const report of reports) assert.deepEqual(report, reports[0]);
  return reports[0]!;
}

const changed = (text: string) => text.replace('"data": {', '"data": {"changed":true,');

/** What comes before the night of that day, told from others by the seed. */
export async function fillDay(books: Books, stripe: FakeStripe, today: Day, seed: string): Promise<void> {
  const [yesterday, before] = [addDays(today, -1), addDays(today, -2)];
  const events = eventsOf(yesterday, 30, `${seed} yesterday`);
  const older = eventsOf(before, 12, `${seed} before`);
  const records: AppendRecord[] = [
    ...[...events.slice(0, 24), ...older].map(({ text }) => stripeRecord(text)),
    ...events.slice(0, 6).map(({ text }) => stripeRecord(text, { receivedAt: `${today}T01:00:00.000Z` })),
    ...eventsOf(today, 9, `${seed} today`).map(({ text }) => stripeRecord(text)),
    ...Array.from({ length: 12 }, (_, number) =>
      eventRecord(`{"value":${number}}`, {
        id: `${seed}-${number % 8}`,
        ...(number % 3 === 0 ? {} : { time: `${number < 8 ? yesterday : before}T10:00:00Z` }),
        receivedAt: `${yesterday}T1${number % 10}:00:00.000Z`,
      }),
    ),
    ...['no envelope', 'neither', 'nor this'].map((text) => ({ key: text, value: Buffer.from(`${seed} ${text}`) })),
  ];
  for (const { text } of [...events.slice(4, 20), ...older.slice(2)]) stripe.add(text);
  for (const { text } of events.slice(20, 23)) stripe.add(changed(text));
  for (const { text } of events.slice(24, 28)) stripe.add(text);
  for (const { text } of events.slice(28)) {
    stripe.add(text.replace('"data": {', `"data": {"deep":${'['.repeat(300)}${']'.repeat(300)},`));
  }
  // Thin events of the same changes: their snapshots were delivered, or only listed; some of them were delivered too.
  for (const [index, { id: snapshot, createdSeconds }] of [...events.slice(4, 8), ...events.slice(24, 28)].entries()) {
    const created = new Date(createdSeconds * 1000).toISOString();
    const thin = thinEvent({ id: `evt_thin_${seed.replaceAll(' ', '_')}_${index}`, created, snapshot });
    stripe.add(thin.listed);
    if (index % 3 === 0) records.push(stripeRecord(thin.notification));
  }
  await books.deliver(...records);
}

/** All that the archive says, but for how many parts say it. The books hold, and `verify` agrees. */
export async function sayingOf(books: Books): Promise<unknown> {
  const { sources, stream, firstDays, lists } = await books.ledger();
  const expected: Record<string, { ids: string[] }> = {};
  const days: unknown[] = [];
  const linesOf = async (keys: readonly string[]) =>
    (await Promise.all(keys.map((key) => books.lines(key)))).flat().sort();
  for (const [source, states] of [...sources].sort()) {
    expected[source] = { ids: [] };
    for (const [day, state] of [...states].sort()) {
      const { parts, lateDeliveries, exceptions, verdict, listedAt, counts, missing, accounts, modes } = state;
      const ids = await linesOf(parts.map(({ ids }) => ids.key));
      expected[source].ids.push(...ids);
      days.push({
        ...{ source, day, verdict, listedAt, counts, missing, accounts, modes, ids },
        lines: await linesOf(parts.map(({ key }) => key)),
        deliveries: await linesOf(parts.flatMap(({ deliveries }) => deliveries?.key ?? [])),
        late: await linesOf(lateDeliveries.map(({ key }) => key)),
        exceptions: exceptions.map(({ sha256, counts: ofKinds }) => [sha256.plaintext, ofKinds]),
      });
    }
  }
  await assertBooks(books, expected);
  const head = (await books.ledger()).head?.number ?? 0;
  const quarantine: string[] = [];
  for (let number = 1; number <= head; number += 1) {
    quarantine.push(...(await linesOf((await books.manifest(number)).quarantine.map(({ key }) => key))));
  }
  // The mark of a tip holds when the stream took the record, which is another time in other books.
  const partitions = Object.entries(stream?.partitions ?? {}).map(([name, { next, last, done, tip }]) => {
    return { name, next, last, done, at: tip?.at };
  });
  return { days, firstDays, lists, partitions, quarantine: quarantine.sort() };
}
