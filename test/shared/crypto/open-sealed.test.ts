import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync, inflateSync } from 'node:zlib';
import { armor, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption';
import * as vectors from 'cctv-age';
import fc from 'fast-check';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { decrypt, linesOf, openPlaintext, unpack, wholeLinesOf } from '../../../shared/crypto/open-sealed.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { chunksOf, gather } from './keys.ts';

async function linesIn(chunks: AsyncIterable<Uint8Array>, maxBytes?: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of linesOf(chunks, maxBytes)) lines.push(line);
  return lines;
}

async function sealed(plain: Uint8Array): Promise<{ identity: string; ciphertext: Uint8Array }> {
  const identity = await generateX25519Identity();
  const encrypter = new Encrypter();
  encrypter.addRecipient(await identityToRecipient(identity));
  return { identity, ciphertext: await encrypter.encrypt(plain) };
}

// --- the public test vectors of the age format (C2SP), as far as they are about X25519 and binary files

interface Vector {
  readonly name: string;
  readonly expect: string;
  readonly payload: string | undefined;
  readonly identities: string[];
  readonly file: Uint8Array;
}

function readVector(name: string, bytes: Uint8Array): Vector | undefined {
  const text = Buffer.from(bytes);
  const end = text.indexOf('\n\n');
  const fields = text
    .toString('latin1', 0, end)
    .split('\n')
    .map((line) => line.split(': ') as [string, string]);
  const all = (key: string) => fields.filter(([field]) => field === key).map(([, value]) => value);
  const identities = all('identity').filter((identity) => identity.startsWith('AGE-SECRET-KEY-1'));
  if (identities.length === 0 || all('passphrase').length > 0 || all('armored').length > 0) return undefined;
  const raw = text.subarray(end + 2);
  const file = all('compressed')[0] === 'zlib' ? inflateSync(raw) : raw;
  return { name, expect: all('expect')[0]!, payload: all('payload')[0], identities, file };
}

const applicable = Object.entries(vectors)
  .map(([name, bytes]) => readVector(name, bytes as unknown as Uint8Array))
  .filter((vector) => vector !== undefined);

test('every vector of the age format that applies is opened or refused as it says', async () => {
  assert.ok(applicable.length > 60, `only ${applicable.length} vectors apply`);
  for (const { name, expect, payload, identities, file } of applicable) {
    const hash = createHash('sha256');
    const open = async () => {
      for await (const chunk of decrypt(chunksOf(file, 1000), parseIdentities(identities.join('\n'))))
        hash.update(chunk);
    };
    if (expect === 'success') {
      await open();
      assert.equal(hash.digest('hex'), payload, name);
    } else await assert.rejects(open(), { code: 'sealed_unreadable' }, name);
  }
});

test('a sealed object is read back whatever chunks it comes in', async () => {
  const plain = Buffer.from(Array.from({ length: 2000 }, (_, number) => `line ${number}\n`).join(''));
  const { identity, ciphertext } = await sealed(gzipSync(plain));
  for (const size of [1, 100, ciphertext.length]) {
    assert.deepEqual(await gather(openPlaintext(chunksOf(ciphertext, size), [identity])), plain);
  }
});

test('a damaged object is an error, wherever the damage is, and never an early end', async () => {
  const { identity, ciphertext } = await sealed(gzipSync('a line\n'.repeat(50)));
  for (let at = 0; at < ciphertext.length; at++) {
    const changed = Uint8Array.from(ciphertext);
    changed[at]! ^= 1;
    for (const bytes of [changed, ciphertext.subarray(0, at)]) {
      await assert.rejects(gather(openPlaintext(chunksOf(bytes), [identity])), { code: 'sealed_unreadable' });
    }
  }
});

test('a gzip member cut short or damaged is an error', async () => {
  const packed = gzipSync('a line\n'.repeat(50));
  for (let end = 0; end < packed.length; end++) {
    await assert.rejects(gather(unpack(chunksOf(packed.subarray(0, end)))), { code: 'sealed_unreadable' });
  }
  const changed = Buffer.from(packed);
  changed[packed.length - 6]! ^= 1;
  await assert.rejects(gather(unpack(chunksOf(changed))), { code: 'sealed_unreadable' });
});

test('an armored file and one of another format are said not to be age files', async () => {
  const { identity, ciphertext } = await sealed(Buffer.from('x'));
  for (const bytes of [
    Buffer.from(armor.encode(ciphertext)),
    Buffer.from('age-encryption.org/v2\n'),
    Buffer.from(''),
  ]) {
    await assert.rejects(gather(decrypt(chunksOf(bytes), [identity])), { code: 'sealed_unreadable' });
  }
});

test('a header without end is given up after a megabyte', async () => {
  const identity = await generateX25519Identity();
  let handedOut = 0;
  async function* endless() {
    yield Buffer.from('age-encryption.org/v1\n-> X25519 ');
    for (;;) {
      handedOut += 65_536;
      yield Buffer.alloc(65_536, 'a');
    }
  }
  await assert.rejects(gather(decrypt(endless(), [identity])), { code: 'sealed_unreadable' });
  assert.ok(handedOut < 3_000_000);
});

test("the source's own error passes as it is, and its end is reached when a reader stops early", async () => {
  const { identity, ciphertext } = await sealed(gzipSync('a line\n'.repeat(500_000)));
  const missing = new DaybookError('object_missing');
  async function* failing() {
    yield ciphertext.subarray(0, 300);
    throw missing;
  }
  await assert.rejects(gather(openPlaintext(failing(), [identity])), (error) => error === missing);

  let isClosed = false;
  async function* source() {
    try {
      yield* chunksOf(ciphertext, 100);
    } finally {
      isClosed = true;
    }
  }
  for await (const line of linesOf(openPlaintext(source(), [identity]))) {
    assert.equal(line, 'a line');
    break;
  }
  while (!isClosed) await new Promise(setImmediate);
});

test('text is cut at its line feeds alone, whatever chunks it comes in', async () => {
  const line = fc.string({ unit: fc.constantFrom('a', 'é', '😀', '\r', '\u2028', ' ') });
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.integer({ min: 1, max: 9 }), async (lines, size) => {
      const text = Buffer.from(lines.map((each) => `${each}\n`).join(''));
      assert.deepEqual(await linesIn(chunksOf(text, size)), lines);
    }),
  );
});

test('a line over the limit is refused before it is gathered, and a last line without LF too', async () => {
  const text = Buffer.from(`${'a'.repeat(100)}\n`);
  for (const size of [1, 7, 101]) {
    assert.equal((await linesIn(chunksOf(text, size), 100)).length, 1);
    await assert.rejects(linesIn(chunksOf(text, size), 99), { code: 'line_too_long' });
  }
  async function* endless() {
    for (;;) yield Buffer.alloc(65_536, 'a');
  }
  await assert.rejects(linesIn(endless(), 1_000_000), { code: 'line_too_long' });
  await assert.rejects(linesIn(chunksOf(Buffer.from('a\nb'))), { code: 'sealed_unreadable' });
});

test('pieces of whole lines are the same text, however it comes, and refuse what linesOf refuses', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: fc.constantFrom('a', 'ä', '\n'), maxLength: 9 }), { maxLength: 9 }),
      fc.integer({ min: 1, max: 9 }),
      async (pieces, size) => {
        const text = Buffer.from(pieces.join(''));
        const found: Buffer[] = [];
        const read = async () => {
          for await (const lines of wholeLinesOf(chunksOf(text, size), 20)) {
            assert.equal(lines.at(-1), 0x0a);
            found.push(lines);
          }
        };
        const expected = await linesIn(chunksOf(text, size), 20).catch((error: DaybookError) => error.code);
        if (typeof expected === 'string') await assert.rejects(read(), { code: expected });
        else {
          await read();
          assert.deepEqual(Buffer.concat(found), text);
        }
      },
    ),
  );
});
