import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
// @ts-expect-error kafkajs has no types for its inside
import produceRequest from 'kafkajs/src/protocol/requests/produce/v7/request.js';
import { crc32c } from '../../../../shared/stream/kafka/crc32c.ts';
import { encodeProduce, isPlain, type ProduceRequest } from '../../../../shared/stream/kafka/record-batch.ts';

const nowMs = Date.parse('2026-11-21T23:59:00Z');

test('a produce request has the bytes that kafkajs makes of it', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: nowMs });
  // Lengths around those at which a number takes a byte more.
  const length = fc.oneof(fc.nat(300), fc.integer({ min: 8_050, max: 8_200 }));
  const message = fc.record({
    key: fc.oneof(fc.string({ unit: 'grapheme', maxLength: 128 }), fc.constant('\u{1F4B6}'.repeat(128))),
    value: length.map((bytes) => Buffer.alloc(bytes, `${bytes} `)),
  });
  const partitions = fc.array(
    fc.record({ partition: fc.nat(1_000), messages: fc.array(message, { minLength: 1, maxLength: 80 }) }),
    { minLength: 1, maxLength: 4 },
  );
  const request = fc.record({
    acks: fc.constantFrom(-1, 1),
    timeout: fc.nat(60_000),
    topicData: fc.array(fc.record({ topic: fc.string({ minLength: 1 }), partitions }), { minLength: 1, maxLength: 2 }),
  });
  const assertSame = async (made: ProduceRequest) => {
    assert.ok(isPlain(made));
    const { buffer } = await produceRequest(made).encode();
    assert.ok(encodeProduce(made, nowMs).equals(buffer));
  };
  await fc.assert(fc.asyncProperty(request, assertSame), { numRuns: 30 });
  const values = [-40, -1, 0].map((more) => Buffer.alloc(1_048_576 + more, 'large'));
  const messages = values.map((value) => ({ key: 'k', value }));
  await assertSame({ acks: -1, timeout: 1, topicData: [{ topic: 't', partitions: [{ partition: 0, messages }] }] });
});

test('what daybook does not send is left to kafkajs: transactions, compression, headers, times, keys and values of other kinds', () => {
  const plain = { key: 'k', value: Buffer.from('v') };
  const of = (message: object, further: object = {}): ProduceRequest => ({
    acks: -1,
    timeout: 1,
    topicData: [{ topic: 't', partitions: [{ partition: 0, messages: [plain, message as typeof plain] }] }],
    ...further,
  });
  assert.ok(isPlain(of(plain)));
  assert.ok(isPlain(of(plain, { transactionalId: undefined, producerId: -1, compression: 0 })));
  for (const further of [{ transactionalId: 'a' }, { producerId: 0 }, { compression: 1 }])
    assert.ok(!isPlain(of(plain, further)));
  for (const other of [
    { key: null },
    { key: Buffer.from('k') },
    { value: null },
    { value: 'text' },
    { headers: {} },
    { timestamp: '1' },
  ])
    assert.ok(!isPlain(of({ ...plain, ...other })));
});

test('CRC-32C of the vectors of RFC 3720, and of every length and alignment', () => {
  const vectors: [number, Uint8Array][] = [
    [0x8a9136aa, new Uint8Array(32)],
    [0x62a8ab43, new Uint8Array(32).fill(0xff)],
    [0x46dd794e, Uint8Array.from({ length: 32 }, (_, n) => n)],
    [0x113fdb5c, Uint8Array.from({ length: 32 }, (_, n) => 31 - n)],
    [0xe3069283, Buffer.from('123456789')],
    [0, new Uint8Array(0)],
  ];
  for (const [sum, bytes] of vectors) assert.equal(crc32c(bytes), sum);
  const bytes = Uint8Array.from({ length: 64 }, (_, n) => n * 37);
  for (let from = 0; from < 9; from++) {
    for (let to = from; to <= bytes.length; to++) {
      assert.equal(crc32c(bytes.subarray(from, to)), byBits(bytes.subarray(from, to)));
    }
  }
});

function byBits(bytes: Uint8Array): number {
  let remainder = 0xffffffff;
  for (const byte of bytes) {
    remainder ^= byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? 0x82f63b78 : 0);
  }
  return ~remainder >>> 0;
}
