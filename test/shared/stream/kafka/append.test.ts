import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import kafkajs, { type Message, type ProducerRecord, type RecordMetadata } from 'kafkajs';
import { type Destination, maxValueBytesOf, sendRecords } from '../../../../shared/stream/kafka/append.ts';
import { isRecordRefused } from '../../../../shared/stream/kafka/error.ts';
import { murmur2, partitionOf } from '../../../../shared/stream/kafka/partition.ts';
import { record } from '../../../contract/event-stream.ts';

const topic = 'events';
const six: Destination = { topic, partitions: 6, maxBatchBytes: 1_048_588 };

/** As kafkajs's producer: answers every partition of a request, but for what `answer` takes out or throws. */
function producer(answer: (partitions: number[], call: number) => number[] | Promise<number[]> = (all) => all) {
  const sent: ProducerRecord[] = [];
  return {
    sent,
    async send(request: ProducerRecord): Promise<RecordMetadata[]> {
      const call = sent.push(request);
      const partitions = [...new Set(request.messages.map(({ partition }) => partition!))];
      const answered = await answer(partitions, call);
      return answered.map((partition) => ({ topicName: topic, partition, errorCode: 0, baseOffset: '0' }));
    },
  };
}

const some = (count: number) => Array.from({ length: count }, (_, n) => record(`key-${n}`, `value ${n}`));
const partitionsOfAll = (count: number) => some(count).map(({ key }) => partitionOf(key, 6));
const textsOf = (messages: readonly Message[]) => messages.map(({ value }) => String(value));

test('a partition that is missing from the answer counts as not written, and is sent again by itself', async () => {
  const lost = partitionOf('key-0', 6);
  const kafka = producer((all, call) => (call === 1 ? all.filter((partition) => partition !== lost) : all));
  const acknowledged = new Set<number>();
  assert.deepEqual(await sendRecords(kafka, six, some(30), acknowledged), []);
  assert.equal(acknowledged.size, 30);
  assert.equal(kafka.sent.length, 2);
  const again = [...some(30).keys()].filter((at) => partitionsOfAll(30)[at] === lost);
  assert.deepEqual(
    textsOf(kafka.sent[1]!.messages),
    again.map((at) => `value ${at}`),
  );
});

test('a partition that is never in an answer leaves its records, and no others, unacknowledged', async () => {
  const lost = partitionOf('key-0', 6);
  const kafka = producer((all) => all.filter((partition) => partition !== lost));
  const acknowledged = new Set<number>();
  const reasons = await sendRecords(kafka, six, some(30), acknowledged);
  assert.match(String(reasons[0]), new RegExp(`without an answer for partition ${lost}`));
  assert.deepEqual(
    [...acknowledged].sort((a, b) => a - b),
    [...some(30).keys()].filter((at) => partitionsOfAll(30)[at] !== lost),
  );
});

test('an answer with an error code acknowledges nothing', async () => {
  const kafka = {
    send: async ({ messages }: ProducerRecord) =>
      messages.map(({ partition }) => ({ topicName: topic, partition: partition!, errorCode: 7 })),
  };
  const acknowledged = new Set<number>();
  assert.ok((await sendRecords(kafka, six, some(30), acknowledged)).length > 0);
  assert.equal(acknowledged.size, 0);
});

test('where a request fails, the partitions that take their records alone are acknowledged', async () => {
  const broken = partitionOf('key-0', 6);
  const kafka = producer((all) => {
    if (all.includes(broken)) throw new Error('no leader');
    return all;
  });
  const acknowledged = new Set<number>();
  const reasons = await sendRecords(kafka, six, some(30), acknowledged);
  assert.deepEqual(reasons.map(String), ['Error: no leader']);
  assert.deepEqual(
    [...acknowledged].sort((a, b) => a - b),
    [...some(30).keys()].filter((at) => partitionsOfAll(30)[at] !== broken),
  );
});

test('a partition that failed gets nothing more of an append, so that no record overtakes an older one', async () => {
  const small: Destination = { topic, partitions: 6, maxBatchBytes: 400 };
  const broken = partitionOf('key-0', 6);
  let failures = 0;
  const kafka = producer((all) => {
    if (!all.includes(broken)) return all;
    failures += 1;
    // Fails in the first request and when sent alone; would answer ever after.
    if (failures <= 2) throw new Error('no leader');
    return all;
  });
  const records = Array.from({ length: 20 }, (_, n) => [
    record('key-0', `broken ${n} ${'x'.repeat(50)}`),
    record('key-1', `sound ${n} ${'x'.repeat(50)}`),
  ]).flat();
  const acknowledged = new Set<number>();
  await sendRecords(kafka, small, records, acknowledged);
  assert.deepEqual(
    [...acknowledged].sort((a, b) => a - b),
    [...records.keys()].filter((at) => partitionOf(records[at]!.key, 6) !== broken),
  );
});

test('what is acknowledged was sent, each record once, in order within its partition, in requests within the bounds', async () => {
  const records = fc.array(
    fc.record({ key: fc.string({ minLength: 1, maxLength: 12 }), bytes: fc.integer({ min: 0, max: 600 }) }),
    { maxLength: 200 },
  );
  await fc.assert(
    fc.asyncProperty(
      records,
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 200, max: 2_000 }),
      async (made, partitions, maxBatchBytes) => {
        const given = made.map(({ key, bytes }, n) => record(key, `${n} ${'x'.repeat(bytes)}`));
        const kafka = producer();
        const acknowledged = new Set<number>();
        const reasons = await sendRecords(kafka, { topic, partitions, maxBatchBytes }, given, acknowledged);
        const sent = kafka.sent.flatMap(({ messages }) => messages);
        const numbers = sent.map(({ value }) => Number(String(value).split(' ')[0]));
        assert.deepEqual(
          numbers.toSorted((a, b) => a - b),
          [...acknowledged].sort((a, b) => a - b),
        );
        assert.equal(acknowledged.size + reasons.length, given.length);
        assert.ok(reasons.every(isRecordRefused));
        for (let partition = 0; partition < partitions; partition++) {
          const inOrder = sent.flatMap((message, at) => (message.partition === partition ? [numbers[at]!] : []));
          assert.deepEqual(
            inOrder,
            inOrder.toSorted((a, b) => a - b),
          );
        }
        for (const { messages } of kafka.sent) {
          for (const group of Map.groupBy(messages, ({ partition }) => partition).values()) {
            const bytes = group.reduce(
              (sum, { key, value }) => sum + Buffer.byteLength(String(key)) + value!.length + 40,
              61,
            );
            assert.ok(bytes <= maxBatchBytes);
          }
        }
      },
    ),
  );
});

test('a record too large for the topic is refused and named, and its neighbours are sent', async () => {
  const kafka = producer();
  const acknowledged = new Set<number>();
  const destination = { topic, partitions: 1, maxBatchBytes: 2_000 };
  const largest = maxValueBytesOf(destination);
  const records = [
    record('a', 'first'),
    { key: 'k'.repeat(512), value: Buffer.alloc(largest) },
    { key: 'k'.repeat(512), value: Buffer.alloc(largest + 1) },
    record('a', 'last'),
  ];
  const reasons = await sendRecords(kafka, destination, records, acknowledged);
  assert.deepEqual([...acknowledged], [0, 1, 3]);
  assert.equal(reasons.length, 1);
  assert.ok(isRecordRefused(reasons[0]));
});

test("partitions are chosen as Kafka's Java client chooses them", () => {
  // The vectors of org.apache.kafka.common.utils.UtilsTest#testMurmur2.
  const vectors: [string, number][] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ];
  for (const [text, hash] of vectors) assert.equal(murmur2(Buffer.from(text)), hash);
  const partitioner = kafkajs.Partitioners.DefaultPartitioner();
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 64 }), (key, count) => {
      const partitionMetadata = Array.from(
        { length: count },
        (_, partitionId) => ({ partitionId, leader: 1 }) as never,
      );
      assert.equal(partitionOf(key, count), partitioner({ topic, partitionMetadata, message: { key, value: null } }));
    }),
  );
});
