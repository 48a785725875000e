/**
 * The body of kafkajs's produce request (versions 3 to 8), made in one buffer. The same bytes as kafkajs makes, which copies
 * each record seven times, into buffers that it fills with zeros first, and takes the checksum byte by byte. Numbers are
 * big-endian:
 *
 *   transactional id int16 -1 · acks int16 · timeout int32 ms · topics int32, each:
 *   name int16 length and UTF-8 · partitions int32, each: index int32 · length of the batch int32 · batch
 *
 * A batch (version 2, https://kafka.apache.org/documentation/#recordbatch):
 *   base offset int64 · length of what follows int32 · leader epoch int32 · magic int8 2 · CRC-32C of what follows uint32 ·
 *   attributes int16 · last offset delta int32 · first and last time int64 ms · producer id int64 -1, epoch int16 and
 *   sequence int32: none · records int32, each:
 *   length of what follows · attributes int8 · time delta 0 · offset delta · length of the key, key · length of the value,
 *   value · headers 0
 * In a record lengths and deltas are zigzag numbers, seven bits a byte, the lowest first.
 */
import { crc32c } from './crc32c.ts';

interface Message {
  readonly key?: unknown;
  readonly value: unknown;
  readonly headers?: unknown;
  readonly timestamp?: unknown;
}

/** What kafkajs's producer asks of one broker. */
export interface ProduceRequest {
  readonly acks: number;
  readonly timeout: number;
  readonly transactionalId?: string | null | undefined;
  /** -1: of no producer that counts its records. */
  readonly producerId?: unknown;
  /** 0: none. */
  readonly compression?: number;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number; readonly messages: readonly Message[] }[];
  }[];
}

interface PlainMessage {
  readonly key: string;
  readonly value: Buffer;
}

/** As daybook's writer asks: no transaction, no compression, and messages of a key and a value in bytes alone. */
export function isPlain({ transactionalId, producerId, compression, topicData }: ProduceRequest): boolean {
  const isPlainMessage = ({ key, value, headers, timestamp }: Message) =>
    typeof key === 'string' && Buffer.isBuffer(value) && headers === undefined && timestamp === undefined;
  return (
    (transactionalId ?? null) === null &&
    (producerId ?? -1) === -1 &&
    (compression ?? 0) === 0 &&
    topicData.every(({ partitions }) => partitions.every(({ messages }) => messages.every(isPlainMessage)))
  );
}

/** Of a batch before its records, and what of it comes before its checksum and before what that is of. */
const headBytes = 61;
const lengthEndsAt = 12;
const checksumAt = 17;
const checksumEndsAt = 21;

/** Of a request that is plain. `nowMs` is the time of its records. */
export function encodeProduce({ acks, timeout, topicData }: ProduceRequest, nowMs: number): Buffer {
  const topics = topicData.map(({ topic, partitions }) => ({
    topic,
    topicBytes: Buffer.byteLength(topic),
    partitions: partitions.map(({ partition, messages }) => batchOf(partition, messages as readonly PlainMessage[])),
  }));
  const bytes = Buffer.allocUnsafe(
    topics.reduce(
      (sum, { topicBytes, partitions }) => partitions.reduce((all, { size }) => all + 8 + size, sum + 6 + topicBytes),
      12,
    ),
  );
  let at = bytes.writeInt16BE(-1);
  at = bytes.writeInt16BE(acks, at);
  at = bytes.writeInt32BE(timeout, at);
  at = bytes.writeInt32BE(topics.length, at);
  for (const { topic, topicBytes, partitions } of topics) {
    at = bytes.writeInt16BE(topicBytes, at);
    at += bytes.write(topic, at);
    at = bytes.writeInt32BE(partitions.length, at);
    for (const batch of partitions) {
      at = bytes.writeInt32BE(batch.partition, at);
      at = bytes.writeInt32BE(batch.size, at);
      at = writeBatch(bytes, batch, nowMs, at);
    }
  }
  return bytes;
}

interface SizedRecord {
  readonly key: string;
  readonly keyBytes: number;
  readonly value: Buffer;
  /** Of the record behind its length. */
  readonly bodyBytes: number;
}

interface Batch {
  readonly partition: number;
  readonly size: number;
  readonly records: readonly SizedRecord[];
}

function batchOf(partition: number, messages: readonly PlainMessage[]): Batch {
  let size = headBytes;
  const records = messages.map(({ key, value }, delta) => {
    const keyBytes = Buffer.byteLength(key);
    // Attributes, time delta and headers are one byte each.
    const bodyBytes =
      3 + varintBytes(delta) + varintBytes(keyBytes) + keyBytes + varintBytes(value.length) + value.length;
    size += varintBytes(bodyBytes) + bodyBytes;
    return { key, keyBytes, value, bodyBytes };
  });
  return { partition, size, records };
}

/** Returns where it ends. */
function writeBatch(bytes: Buffer, { size, records }: Batch, nowMs: number, start: number): number {
  let at = bytes.writeBigInt64BE(0n, start);
  at = bytes.writeInt32BE(size - lengthEndsAt, at);
  at = bytes.writeInt32BE(0, at);
  bytes[at] = 2;
  at = bytes.writeInt16BE(0, start + checksumEndsAt);
  at = bytes.writeInt32BE(records.length - 1, at);
  at = bytes.writeBigInt64BE(BigInt(nowMs), at);
  at = bytes.writeBigInt64BE(BigInt(nowMs), at);
  at = bytes.writeBigInt64BE(-1n, at);
  at = bytes.writeInt16BE(0, at);
  at = bytes.writeInt32BE(0, at);
  at = bytes.writeInt32BE(records.length, at);
  for (const [delta, { key, keyBytes, value, bodyBytes }] of records.entries()) {
    at = writeVarint(bytes, bodyBytes, at);
    bytes[at++] = 0;
    bytes[at++] = 0;
    at = writeVarint(bytes, delta, at);
    at = writeVarint(bytes, keyBytes, at);
    at += bytes.write(key, at);
    at = writeVarint(bytes, value.length, at);
    at += value.copy(bytes, at);
    bytes[at++] = 0;
  }
  bytes.writeUInt32BE(crc32c(bytes.subarray(start + checksumEndsAt, at)), start + checksumAt);
  return at;
}

/** Of a number from 0 to 2³⁰, which zigzag doubles. */
function varintBytes(value: number): number {
  return value < 64 ? 1 : value < 8_192 ? 2 : value < 1_048_576 ? 3 : value < 134_217_728 ? 4 : 5;
}

/** Returns where it ends. */
function writeVarint(bytes: Buffer, value: number, start: number): number {
  let at = start;
  let left = value * 2;
  for (; left > 127; left >>>= 7) bytes[at++] = left | 0x80;
  bytes[at++] = left;
  return at;
}
