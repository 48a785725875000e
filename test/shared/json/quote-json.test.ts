import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { quotedBetween } from '../../../shared/json/quote-json.ts';

const utf8 = (text: string) => Buffer.from(text.toWellFormed());

test('text is quoted as JSON.stringify quotes it, whatever was quoted before', () => {
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom('\n', '"', '\\', 'a', 'é')).map((all) => all.join('')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const bytes = utf8(text);
      assert.equal(
        quotedBetween('{"é":', bytes, '}')?.toString('latin1'),
        `{"é":${utf8(JSON.stringify(bytes.toString())).toString('latin1')}}`,
      );
    }),
    { numRuns: 2_000 },
  );
  const control = String.fromCharCode(...Array.from({ length: 0x80 }, (_, code) => code));
  for (let at = 0; at < 8; at++) {
    const text = `${'x'.repeat(at)}${control}`;
    assert.equal(quotedBetween('', utf8(text), '')?.toString(), JSON.stringify(text));
  }
});

test('what is too long is not taken, and the longest that is taken fits', () => {
  const longest = Buffer.alloc(64 * 1024, 1);
  assert.equal(quotedBetween('x'.repeat(64 * 1024 - 3), longest, 'y')?.length, longest.length * 6 + 64 * 1024);
  assert.equal(quotedBetween('', Buffer.alloc(64 * 1024 + 1), ''), undefined);
  assert.equal(quotedBetween('x'.repeat(64 * 1024), Buffer.alloc(1), ''), undefined);
});
