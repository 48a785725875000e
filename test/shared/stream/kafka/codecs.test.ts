import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { snappyCompress } from 'hysnappy';
import kafkajs from 'kafkajs';
import { compressFrameSync } from 'lz4-napi';
import { readEveryCodec, unfoldSnappy } from '../../../../shared/stream/kafka/codecs.ts';

const text = Buffer.from('of some length, '.repeat(5_000));
const { CompressionCodecs, CompressionTypes } = kafkajs;
readEveryCodec();

function frames(blocks: readonly Uint8Array[]): Buffer {
  const head = Buffer.concat([Buffer.from('\x82SNAPPY\0', 'latin1'), Buffer.from([0, 0, 0, 1, 0, 0, 0, 1])]);
  const withLength = (block: Uint8Array) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(block.length);
    return [length, block];
  };
  return Buffer.concat([head, ...blocks.flatMap(withLength)]);
}

test('snappy is unfolded as a bare block, and as the frames of snappy-java', async () => {
  assert.deepEqual(await unfoldSnappy(Buffer.from(snappyCompress(text))), text);
  const blocks = [text.subarray(0, 32_768), text.subarray(32_768)].map((part) => snappyCompress(part));
  assert.deepEqual(await unfoldSnappy(frames(blocks)), text);
  assert.deepEqual(await unfoldSnappy(frames([])), Buffer.alloc(0));
});

const folded = { Snappy: frames([snappyCompress(text)]), LZ4: compressFrameSync(text), ZSTD: zstdCompressSync(text) };
for (const [name, bytes] of Object.entries(folded)) {
  test(`${name} unfolds, and says by a code where it cannot`, async () => {
    const { decompress } = CompressionCodecs[CompressionTypes[name as keyof typeof folded]]();
    assert.deepEqual(Buffer.from(await decompress(bytes)), text);
    for (const damaged of [bytes.subarray(0, bytes.length >> 1), Buffer.from('not folded at all'), Buffer.alloc(0)]) {
      const outcome = await decompress(damaged).catch((error: { code?: string }) => error.code);
      if (damaged.length > 0) assert.equal(outcome, 'stream_unreadable');
    }
  });
}

test('a snappy block that claims to unfold to gigabytes is refused', async () => {
  await assert.rejects(unfoldSnappy(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0])), /unfolds to 4294967295 bytes/);
});
