/**
 * What Kinesis does and its simulator does not: entries of a request that fail alone, throttling, slow shards, lost
 * answers, iterators that expire, records that age out. Done by a proxy in front of a real server.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { IncreaseStreamRetentionPeriodCommand, MergeShardsCommand, SplitShardCommand } from '@aws-sdk/client-kinesis';
import { pino } from 'pino';
import { DaybookError, type ErrorCode } from '../../shared/errors.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import { patiently } from '../../shared/stream/kinesis/client.ts';
import { openKinesisReader } from '../../shared/stream/kinesis/reader.ts';
import { openKinesisWriter } from '../../shared/stream/kinesis/writer.ts';
import type { Cursor, EventStreamReader, StreamBatch } from '../../shared/stream/stream.ts';
import { streamSchema } from '../../shared/stream/streams.ts';
import { entriesOf, numbered, readAll, record, textOf, valuesOf } from '../contract/event-stream.ts';
import { createStream, deleteStream, kinesisClock, openKinesis, untilActive } from '../services/kinesis-streams.ts';
import { startService } from '../services/service.ts';
import { type ProxyAnswer, type ProxyHandler, type ProxyRequest, startHttpProxy } from './http-proxy.ts';

const service = await startService<{ endpoint: string }>('kinesis.sh');
const timeouts = { connectMs: 2_000, requestMs: 60_000, patienceMs: 120_000 };
/** For answers that never come. */
const hasty = { ...timeouts, requestMs: 500 };
/** For what fails for good. */
const impatient = { ...hasty, patienceMs: 2_000 };

interface PutEntry {
  readonly PartitionKey: string;
  /** Base64. */
  readonly Data: string;
}

const is = (operation: string) => (request: ProxyRequest) =>
  request.headers['x-amz-target']?.toString().endsWith(`.${operation}`);
const isPut = is('PutRecords');
const isGet = is('GetRecords');
const isIterator = is('GetShardIterator');
const entriesPut = ({ body }: ProxyRequest) => (JSON.parse(body.toString()) as { Records: PutEntry[] }).Records;
const failure = (name: string, status = 400): ProxyAnswer => ({
  status,
  headers: { 'content-type': 'application/x-amz-json-1.1' },
  body: JSON.stringify({ __type: name, message: 'injected' }),
});

/** Refuses single entries of PutRecords: without their effect, or after it. */
const refusing =
  (isRefused: (entry: PutEntry, index: number) => boolean, way: 'before' | 'after', code: string): ProxyHandler =>
  async (request, forward) => {
    if (!isPut(request)) return forward();
    const { Records, ...rest } = JSON.parse(request.body.toString()) as { Records: PutEntry[] };
    const refused = Records.map(isRefused);
    const sent = Records.filter((_, index) => way === 'after' || !refused[index]);
    const none: ProxyAnswer = { status: 200, headers: failure('').headers!, body: '{"Records":[]}' };
    const answer = sent.length === 0 ? none : await forward(Buffer.from(JSON.stringify({ ...rest, Records: sent })));
    const taken = (JSON.parse(String(answer.body)) as { Records: object[] }).Records;
    let at = 0;
    const merged = refused.map((no) => {
      const entry = no && way === 'before' ? undefined : taken[at++];
      return no ? { ErrorCode: code, ErrorMessage: 'injected' } : entry;
    });
    const body = JSON.stringify({ FailedRecordCount: refused.filter(Boolean).length, Records: merged });
    return { ...answer, body };
  };

if (service !== undefined) {
  const proxy = await startHttpProxy(service.facts.endpoint);
  const client = openKinesis(service.facts.endpoint);
  const opened: { close(): Promise<void> }[] = [];
  after(async () => {
    client.destroy();
    for (const one of opened) await one.close();
    await proxy.close();
    await service.stop();
  });

  const newStream = async (t: TestContext, shards = 2) => {
    proxy.decide();
    const streamName = await createStream(client, shards);
    t.after(() => deleteStream(client, streamName));
    const params = { streamName, endpoint: proxy.endpoint, region: 'us-east-1' };
    const said: { msg: string; retentionHours?: number }[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void said.push(JSON.parse(line)) });
    const keep = <T extends { close(): Promise<void> }>(one: T): T => {
      opened.push(one);
      return one;
    };
    return {
      streamName,
      said,
      writer: async (waiting = timeouts) => keep(await openKinesisWriter({ params, log, timeouts: waiting })),
      reader: async (waiting = timeouts) =>
        keep(await openKinesisReader({ params, clock: kinesisClock, log, timeouts: waiting })),
    };
  };
  const textsOf = async (reader: EventStreamReader) => valuesOf(await readAll(reader)).map(String);
  const inOrder = (texts: readonly string[], key: string) =>
    texts.filter((text) => text.startsWith(`${key} `)).map((text) => Number(text.split(' ')[1]));
  const keys = ['a', 'b', 'c', 'd', 'e'];
  const records = [...Array(40).keys()].flatMap((n) => keys.map((key) => record(key, `${key} ${n}`)));

  test('entries refused one by one are sent again alone, each is there once, and keys keep their order', async (t) => {
    const stream = await newStream(t);
    const writer = await stream.writer();
    let entries = 0;
    proxy.decide(refusing(() => ++entries % 3 === 0, 'before', 'ProvisionedThroughputExceededException'));
    await writer.append(records);
    assert.ok(entries > records.length, 'some were refused');
    proxy.decide();
    const texts = await textsOf(await stream.reader());
    assert.equal(texts.length, records.length);
    for (const key of keys) assert.deepEqual(inOrder(texts, key), [...Array(40).keys()], key);
  });

  test('entries that are written and yet called refused come again: none is missing', async (t) => {
    const stream = await newStream(t);
    const writer = await stream.writer();
    let entries = 0;
    proxy.decide(refusing(() => ++entries % 5 === 0, 'after', 'InternalFailure'));
    await writer.append(records);
    proxy.decide();
    const texts = await textsOf(await stream.reader());
    assert.ok(texts.length > records.length);
    for (const key of keys) assert.deepEqual([...new Set(inOrder(texts, key))], [...Array(40).keys()], key);
  });

  test('what a shard refuses past the patience is named, all else is there and acknowledged', async (t) => {
    const stream = await newStream(t);
    const writer = await stream.writer({ ...timeouts, patienceMs: 5_000 });
    proxy.decide(
      refusing(({ PartitionKey }) => PartitionKey === 'b', 'before', 'ProvisionedThroughputExceededException'),
    );
    const error = await writer.append(records).catch((thrown: unknown) => thrown);
    proxy.decide();
    assert.ok(error instanceof AppendError);
    assert.deepEqual([error.code, error.retry], ['stream_unavailable', true]);
    assert.match(error.message, /ProvisionedThroughputExceededException/);
    const unacknowledged = [...records.keys()].filter((index) => records[index]!.key === 'b');
    assert.deepEqual(error.unacknowledged, unacknowledged);
    const texts = await textsOf(await stream.reader());
    for (const key of keys) assert.deepEqual(inOrder(texts, key), key === 'b' ? [] : [...Array(40).keys()], key);
    await writer.append(unacknowledged.map((index) => records[index]!));
    assert.deepEqual(inOrder(await textsOf(await stream.reader()), 'b'), [...Array(40).keys()]);
  });

  const once: Readonly<Record<string, ProxyHandler>> = {
    throttling: async () => failure('ProvisionedThroughputExceededException'),
    'a 500': async () => failure('InternalFailure', 500),
    'a 503': async () => failure('ServiceUnavailable', 503),
    'a broken connection': async () => 'reset',
    'an answer lost after the effect': async (_request, forward) => {
      await forward();
      return 'reset';
    },
    'an answer that never comes after the effect': async (_request, forward) => {
      await forward();
      return 'hang';
    },
    'an answer cut after the effect': async (_request, forward) => {
      await forward();
      return 'cut';
    },
  };
  for (const [name, fault] of Object.entries(once)) {
    test(`an append that meets ${name} twice is acknowledged, and all is there`, async (t) => {
      const stream = await newStream(t);
      const writer = await stream.writer(hasty);
      let left = 2;
      proxy.decide((request, forward) => (isPut(request) && left-- > 0 ? fault(request, forward) : forward()));
      await writer.append(numbered('k', 0, 7));
      proxy.decide();
      const texts = await textsOf(await stream.reader());
      assert.equal(new Set(texts).size, 7);
      assert.equal(texts.length, name.includes('effect') ? 21 : 7);
    });

    test(`a reading that meets ${name} at every kind of call gives each record once`, async (t) => {
      const stream = await newStream(t);
      await (await stream.writer()).append(numbered('k', 0, 70));
      const seen = new Map<string, number>();
      proxy.decide((request, forward) => {
        const kind = String(request.headers['x-amz-target']);
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        return seen.get(kind)! <= 1 ? fault(request, forward) : forward();
      });
      const texts = await textsOf(await stream.reader(hasty));
      proxy.decide();
      assert.equal(seen.size, 4, 'describe, list, iterator, records');
      assert.deepEqual([texts.length, new Set(texts).size], [70, 70]);
    });
  }

  test('a stream away for longer than the patience refuses appends, and takes them again without a restart', async (t) => {
    const stream = await newStream(t);
    const writer = await stream.writer(impatient);
    for (const away of ['reset', 'hang'] as const) {
      proxy.decide(async () => away);
      const error = await writer.append(numbered('k', 0, 3)).catch((thrown: unknown) => thrown);
      assert.ok(error instanceof AppendError);
      assert.deepEqual([error.retry, error.unacknowledged], [true, [0, 1, 2]]);
      await assert.rejects(writer.probe(), { code: 'stream_unavailable', retry: true });
      proxy.decide();
      await writer.probe();
      await writer.append(numbered('k', 0, 3));
    }
    assert.equal((await textsOf(await stream.reader())).length, 6);
  });

  test('a request stays within 500 records and 5 MiB, and has no key twice', async (t) => {
    const stream = await newStream(t);
    const writer = await stream.writer();
    const from = proxy.requests.length;
    await writer.append(Array.from({ length: 1_200 }, (_, n) => record(`key-${n % 1_100}`, `k ${n}`)));
    await writer.append(Array.from({ length: 13 }, (_, n) => ({ key: `big-${n}`, value: randomBytes(1_000_000) })));
    const requests = proxy.requests.slice(from).filter(isPut).map(entriesPut);
    assert.equal(
      requests.reduce((sum, entries) => sum + entries.length, 0),
      1_213,
    );
    assert.ok(requests.length <= 3 + 3);
    for (const entries of requests) {
      assert.ok(entries.length <= 500);
      const bytes = entries.map(({ PartitionKey, Data }) => PartitionKey.length + Buffer.byteLength(Data, 'base64'));
      assert.ok(bytes.reduce((a, b) => a + b, 0) <= 5 * 1024 * 1024);
      assert.equal(new Set(entries.map(({ PartitionKey }) => PartitionKey)).size, entries.length);
    }
  });

  test('a record that the stream would refuse is refused here, with all of its call, and nothing is sent', async (t) => {
    const stream = await newStream(t);
    const writer = await stream.writer();
    assert.equal(writer.maxValueBytes, 1024 * 1024 - 1024);
    const from = proxy.requests.length;
    const large = { key: 'k', value: Buffer.alloc(writer.maxValueBytes! + 1) };
    const error = await writer.append([record('k', 'small'), large]).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof AppendError);
    assert.deepEqual([error.retry, error.unacknowledged, error.refused], [false, [0, 1], [1]]);
    assert.equal(proxy.requests.length, from);
    await writer.append([{ key: 'x'.repeat(256), value: large.value.subarray(1) }]);
  });

  test('an entry without an answer is not an acknowledgement', async (t) => {
    const stream = await newStream(t);
    const writer = await stream.writer();
    let lied = false;
    proxy.decide(async (request, forward) => {
      if (!isPut(request) || lied) return forward();
      lied = true;
      return { status: 200, headers: failure('').headers!, body: '{"FailedRecordCount":0,"Records":[]}' };
    });
    await writer.append(numbered('k', 0, 5));
    proxy.decide();
    assert.equal((await textsOf(await stream.reader())).length, 5);
  });

  test('an iterator that expires half-way is renewed, and no record is given twice or left out', async (t) => {
    const stream = await newStream(t, 1);
    await (await stream.writer()).append(Array.from({ length: 2_500 }, (_, n) => record(`${n}`, `${n}`)));
    let calls = 0;
    proxy.decide(async (request, forward) => {
      if (!isGet(request)) return forward();
      calls += 1;
      return [1, 2, 4, 6, 7].includes(calls) ? failure('ExpiredIteratorException') : forward();
    });
    const reader = await stream.reader();
    const batches = await batchesOf(reader, undefined);
    proxy.decide();
    assert.ok(batches.length >= 3 && batches.every(({ entries, hole }) => hole === undefined && entries.length <= 500));
    const numbers = batches.flatMap(({ entries }) => entries.map(textOf));
    assert.deepEqual([numbers.length, new Set(numbers).size], [2_500, 2_500]);
  });

  test('empty answers from a shard that is behind do not end the reading', async (t) => {
    const stream = await newStream(t, 1);
    await (await stream.writer()).append(numbered('k', 0, 20));
    let empty = 5;
    proxy.decide(async (request, forward) => {
      if (!isGet(request) || empty-- <= 0) return forward();
      const { ShardIterator } = JSON.parse(request.body.toString()) as { ShardIterator: string };
      const body = { Records: [], NextShardIterator: ShardIterator, MillisBehindLatest: 86_400_000 };
      return { status: 200, headers: failure('').headers!, body: JSON.stringify(body) };
    });
    assert.equal((await textsOf(await stream.reader())).length, 20);
  });

  test('a record of a later time among earlier ones ends a reading before it, and the next one has it', async (t) => {
    const stream = await newStream(t, 1);
    await (await stream.writer()).append(Array.from({ length: 9 }, (_, n) => record(`${n}`, `${n}`)));
    const reader = await stream.reader();
    const all = (await batchesOf(reader, undefined)).flatMap(({ entries }) => entries);
    proxy.decide(async (request, forward) => {
      const answer = await forward();
      if (!isGet(request)) return answer;
      const given = JSON.parse(String(answer.body)) as { Records: { SequenceNumber: string }[] };
      const Records = given.Records.map((one) =>
        BigInt(one.SequenceNumber) === all[4]!.position
          ? { ...one, ApproximateArrivalTimestamp: Date.now() / 1000 + 60 }
          : one,
      );
      return { ...answer, body: JSON.stringify({ ...given, Records }) };
    });
    const early = (await batchesOf(reader, undefined)).flatMap(({ entries }) => entries);
    proxy.decide();
    assert.deepEqual(early.map(textOf), all.slice(0, 4).map(textOf));
    const late = (await batchesOf(reader, early.at(-1)!.after)).flatMap(({ entries }) => entries);
    assert.deepEqual(late.map(textOf), all.slice(4).map(textOf));
  });

  /** The oldest records up to this one are gone. AWS gives the oldest kept for a position that is gone; others refuse it. */
  const trimming =
    (last: Cursor, positions: 'moved' | 'refused'): ProxyHandler =>
    async (request, forward) => {
      if (isIterator(request)) {
        const asked = JSON.parse(request.body.toString()) as { StartingSequenceNumber?: string };
        const isGone = asked.StartingSequenceNumber !== undefined && BigInt(asked.StartingSequenceNumber) <= last;
        if (!isGone) return forward();
        if (positions === 'refused') return failure('InvalidArgumentException');
        const { StartingSequenceNumber: _, ...kept } = asked;
        return forward(Buffer.from(JSON.stringify({ ...kept, ShardIteratorType: 'TRIM_HORIZON' })));
      }
      const answer = await forward();
      if (!isGet(request)) return answer;
      const given = JSON.parse(String(answer.body)) as { Records: { SequenceNumber: string }[] };
      const Records = given.Records.filter(({ SequenceNumber }) => BigInt(SequenceNumber) > last);
      return { ...answer, body: JSON.stringify({ ...given, Records }) };
    };
  for (const positions of ['moved', 'refused'] as const) {
    test(`records that aged out (their positions are ${positions}) are a hole, and the rest is read`, async (t) => {
      const stream = await newStream(t, 1);
      await (await stream.writer()).append(Array.from({ length: 30 }, (_, n) => record(`${n}`, `${n}`)));
      const reader = await stream.reader();
      const all = (await batchesOf(reader, undefined)).flatMap(({ entries }) => entries);
      const last = all[19]!.after;
      proxy.decide(trimming(last, positions));

      const batches = await batchesOf(reader, all[4]!.after);
      assert.deepEqual(
        batches.map(({ hole }) => hole),
        [{ from: all[4]!.after, to: all[20]!.position - 1n }],
      );
      assert.deepEqual(batches[0]!.entries.map(textOf), all.slice(20).map(textOf));
      assert.equal(batches[0]!.entries[0]!.before, batches[0]!.hole!.to);

      const unread = await batchesOf(reader, undefined);
      assert.deepEqual(
        unread.map(({ hole, entries }) => [hole, entries.length]),
        [[undefined, 10]],
        'no position, no hole',
      );
      const kept = await batchesOf(reader, all[25]!.after);
      assert.deepEqual(
        kept.map(({ hole, entries }) => [hole, entries.length]),
        [[undefined, 4]],
      );
      const beforeFirst = await batchesOf(reader, unread[0]!.entries[0]!.before);
      assert.deepEqual(
        beforeFirst.map(({ hole, entries }) => [hole, entries.length]),
        [[undefined, 10]],
      );
      assert.equal(await reader.recordBefore(await onlyShard(reader), all[3]!.after), undefined);
      proxy.decide();
    });
  }

  test('records that age out while an expired iterator is renewed are a hole as well', async (t) => {
    const stream = await newStream(t, 1);
    await (await stream.writer()).append(Array.from({ length: 2_500 }, (_, n) => record(`${n}`, `${n}`)));
    const reader = await stream.reader();
    const all = (await batchesOf(reader, undefined)).flatMap(({ entries }) => entries);
    let calls = 0;
    proxy.decide(async (request, forward) => {
      if (isGet(request)) calls += 1;
      if (calls < 2) return forward();
      if (isGet(request) && calls === 2) return failure('ExpiredIteratorException');
      return trimming(all[1_999]!.after, 'moved')(request, forward);
    });
    const batches = await batchesOf(reader, undefined);
    proxy.decide();
    const holes = batches.flatMap(({ hole }) => (hole === undefined ? [] : [hole]));
    assert.deepEqual(holes, [{ from: all[499]!.after, to: all[2_000]!.position - 1n }]);
    assert.equal(batches.flatMap(({ entries }) => entries).length, 1_000);
  });

  test('shards that are split and merged lose nothing, parents are read first, keys keep their order', async (t) => {
    const stream = await newStream(t, 2);
    const writer = await stream.writer();
    const reader = await stream.reader();
    const StreamName = stream.streamName;
    const round = (n: number) => writer.append(keys.map((key) => record(key, `${key} ${n}`)));
    await round(0);
    const [first, second] = [...(await reader.snapshot()).partitions.keys()];
    await client.send(
      new SplitShardCommand({ StreamName, ShardToSplit: first, NewStartingHashKey: String(2n ** 126n) }),
    );
    await untilActive(client, StreamName);
    await round(1);
    const open = [...(await reader.snapshot()).partitions.keys()].filter((name) => name !== first);
    assert.deepEqual([open.length, open[0]], [3, second]);
    await client.send(new MergeShardsCommand({ StreamName, ShardToMerge: open[1], AdjacentShardToMerge: open[2] }));
    await untilActive(client, StreamName);
    await round(2);

    const partitions = await readAll(reader);
    const names = [...partitions.keys()];
    assert.equal(names.length, 5);
    assert.ok(names.indexOf(first!) < names.indexOf(open[1]!) && names.indexOf(open[2]!) < names.length - 1);
    const texts = valuesOf(partitions).map(String);
    for (const key of keys) assert.deepEqual(inOrder(texts, key), [0, 1, 2], key);

    const snapshot = await reader.snapshot();
    for (const [name, entries] of partitions) {
      const last = entries.at(-1);
      if (last !== undefined) assert.deepEqual(await entriesOf(reader, name, last.after, snapshot), []);
    }
  });

  test('a retention below 7 days is warned of at every start, on both ends', async (t) => {
    const stream = await newStream(t, 1);
    await stream.writer();
    await stream.reader();
    const warnings = stream.said.map(({ msg, retentionHours }) => [/168 hours/.test(msg), retentionHours]);
    assert.deepEqual(warnings, [
      [true, 24],
      [true, 24],
    ]);
    await client.send(
      new IncreaseStreamRetentionPeriodCommand({ StreamName: stream.streamName, RetentionPeriodHours: 168 }),
    );
    await untilActive(client, stream.streamName);
    await stream.writer();
    assert.equal(stream.said.length, 2);
  });

  test('the id of a stream is another one when the stream was made again under its name', async (t) => {
    const stream = await newStream(t, 1);
    const { id } = await (await stream.reader()).snapshot();
    proxy.decide(async (request, forward) => {
      const answer = await forward();
      if (!is('DescribeStreamSummary')(request)) return answer;
      return { ...answer, body: String(answer.body).replace(/("StreamCreationTimestamp":)[\d.]+/, '$11.5') };
    });
    const again = await (await stream.reader()).snapshot();
    proxy.decide();
    assert.match(id, new RegExp(`^arn:aws:kinesis:us-east-1:\\d+:stream/${stream.streamName}@2\\d{3}-`));
    assert.notEqual(again.id, id);
  });

  const refusals: readonly [string, ErrorCode][] = [
    ['ResourceNotFoundException', 'stream_missing'],
    ['AccessDeniedException', 'stream_not_authorised'],
    ['UnrecognizedClientException', 'stream_credentials_refused'],
    ['ExpiredTokenException', 'stream_credentials_refused'],
    ['InvalidArgumentException', 'stream_unavailable'],
  ];
  for (const [name, code] of refusals) {
    test(`${name} is said as ${code}, at the start and later, at once and without credentials`, async (t) => {
      const stream = await newStream(t, 1);
      const writer = await stream.writer();
      const reader = await stream.reader();
      proxy.decide(async () => failure(name));
      const asked = [() => stream.writer(), () => stream.reader(), () => reader.snapshot(), () => writer.probe()];
      for (const ask of asked) {
        const error = await ask().then(
          () => assert.fail('it was not refused'),
          (thrown: unknown) => thrown,
        );
        assert.ok(error instanceof DaybookError);
        assert.deepEqual([error.code, error.retry], [code, false]);
        assert.match(error.message, new RegExp(`${stream.streamName} in us-east-1: ${name}, HTTP 400`));
        assert.doesNotMatch(inspect(error, { depth: 20, showHidden: true }), /testsecret|Credential=|Signature=/);
      }
      const refused = await writer.append(numbered('k', 0, 2)).catch((thrown: unknown) => thrown);
      assert.ok(refused instanceof AppendError);
      assert.deepEqual([refused.retry, refused.unacknowledged, refused.refused], [false, [0, 1], []]);
      proxy.decide();
    });
  }

  test('a stream that is being made or deleted is not taken for one', async (t) => {
    const stream = await newStream(t, 1);
    proxy.decide(async (_request, forward) => {
      const answer = await forward();
      return { ...answer, body: String(answer.body).replace('"ACTIVE"', '"DELETING"') };
    });
    await assert.rejects(stream.writer(impatient), { code: 'stream_unavailable', retry: true, message: /DELETING/ });
    proxy.decide();
  });
}

test('patience begins again with each refusal for the rate, for so long; with no other failure', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const outcome = (name: string, afterMs: number) => {
    let tries = 0;
    const work = async () => {
      tries += 1;
      if (tries > 1) return 'answered';
      now += afterMs;
      throw Object.assign(new Error(name), { name });
    };
    return patiently(work, 60_000, 300_000).catch(({ message }: Error) => message);
  };
  const [throttling, timeout] = ['ProvisionedThroughputExceededException', 'TimeoutError'];
  assert.equal(await outcome(throttling, 61_000), 'answered');
  assert.equal(await outcome(throttling, 301_000), throttling);
  assert.equal(await outcome(timeout, 61_000), timeout);
  assert.equal(await outcome(timeout, 59_000), 'answered');
});

test('the settings of a Kinesis stream are checked before anything is opened', () => {
  const parse = (params: object) =>
    streamSchema.safeParse({ type: 'kinesis', params: { streamName: 'events', ...params } });
  for (const sound of [{}, { region: 'eu-west-1' }, { endpoint: 'http://127.0.0.1:4568' }]) {
    assert.equal(parse(sound).success, true, JSON.stringify(sound));
  }
  for (const wrong of [
    { streamName: 'no name' },
    { streamName: '' },
    { region: '' },
    { endpoint: 'x' },
    { shards: 2 },
  ]) {
    assert.equal(parse(wrong).success, false, JSON.stringify(wrong));
  }
});

async function onlyShard(reader: EventStreamReader): Promise<string> {
  const [shard] = (await reader.snapshot()).partitions.keys();
  return shard!;
}

/** All batches of a stream of one shard. */
async function batchesOf(reader: EventStreamReader, from: Cursor | undefined): Promise<StreamBatch[]> {
  const snapshot = await reader.snapshot();
  const [shard] = snapshot.partitions.keys();
  const batches: StreamBatch[] = [];
  for await (const batch of reader.read(shard!, from, snapshot)) batches.push(batch);
  return batches;
}
