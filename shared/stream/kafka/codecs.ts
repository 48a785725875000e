/**
 * The codecs in which a batch of records may come back. What the producer sends is one thing; a topic whose
 * `compression.type` names a codec has its batches written again by the broker, and a mirror or a restore may bring batches of
 * any producer. kafkajs reads gzip by itself. The others: https://kafka.apache.org/documentation/#recordbatch, whose
 * numbers are those of `CompressionTypes`.
 */
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import kafkajs from 'kafkajs';
import { DaybookError, messageOf } from '../../errors.ts';

/** A batch is bounded by the topic's max.message.bytes; this bounds what a hostile one unfolds to. */
const maxUnfoldedBytes = 256 * 1024 * 1024;
const unfoldZstd = promisify(zstdDecompress);

/** Lets kafkajs read batches in every codec of the protocol. May be called again. */
export function readEveryCodec(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  const codecs = {
    Snappy: unfoldSnappy,
    // Native code, which is loaded only where it is needed.
    LZ4: async (bytes: Buffer) => (await import('lz4-napi')).decompressFrame(bytes),
    ZSTD: (bytes: Buffer) => unfoldZstd(bytes, { maxOutputLength: maxUnfoldedBytes }),
  };
  for (const [name, unfold] of Object.entries(codecs)) {
    const decompress = async (bytes: Buffer) => {
      try {
        return await unfold(bytes);
      } catch (cause) {
        const detail = `a batch of records in ${name} does not unfold: ${messageOf(cause)}`;
        throw new DaybookError('stream_unreadable', { detail, retry: false, cause });
      }
    };
    CompressionCodecs[CompressionTypes[name as keyof typeof codecs]] = () => ({
      compress: refuseToCompress,
      decompress,
    });
  }
}

/** daybook writes its records as they are. */
async function refuseToCompress(): Promise<never> {
  throw new Error('daybook compresses no batches');
}

// Java's producers and brokers put snappy blocks into the frames of the library snappy-java:
//   0x82 "SNAPPY" 0x00 · two 32-bit versions · then per block its length (32 bits, big-endian) and the block.
// Others (librdkafka) send one bare block.
const frameMagic = Buffer.from('\x82SNAPPY\0', 'latin1');
const frameHeaderBytes = 16;

export async function unfoldSnappy(bytes: Buffer): Promise<Buffer> {
  const { snappyUncompressor } = await import('hysnappy');
  const uncompress = snappyUncompressor();
  const unfold = (block: Buffer) => {
    const length = unfoldedLength(block);
    if (length > maxUnfoldedBytes) throw new RangeError(`a snappy block unfolds to ${length} bytes`);
    return uncompress(block, length);
  };
  if (!bytes.subarray(0, frameMagic.length).equals(frameMagic)) return Buffer.from(unfold(bytes));
  const blocks: Uint8Array[] = [];
  for (let at = frameHeaderBytes; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) throw new RangeError('a snappy block is cut short');
    blocks.push(unfold(bytes.subarray(at + 4, end)));
    at = end;
  }
  return Buffer.concat(blocks);
}

/** A block begins with its unfolded length, seven bits a byte, the lowest first (Snappy format description, 1). */
function unfoldedLength(block: Buffer): number {
  let length = 0;
  for (let at = 0; at < 5; at += 1) {
    const byte = block[at];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) return length;
  }
  throw new RangeError('a snappy block has no length');
}
