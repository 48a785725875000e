import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maxQuotedBytesPerByte, writeQuoted } from '../../../shared/json/quote-json.ts';

const utf8 = (text: string) => Buffer.from(text.toWellFormed());

test('text is quoted as JSON.stringify quotes it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const bytes = utf8(text);
      const into = Buffer.alloc(bytes.length * maxQuotedBytesPerByte);
      const end = writeQuoted(bytes, into, 0);
      assert.equal(`"${into.toString('utf8', 0, end)}"`, JSON.stringify(bytes.toString()));
    }),
    { numRuns: 2_000 },
  );
  const control = String.fromCharCode(...Array.from({ length: 0x80 }, (_, code) => code));
  const into = Buffer.alloc(1_000);
  assert.equal(`"${into.toString('utf8', 0, writeQuoted(utf8(control), into, 0))}"`, JSON.stringify(control));
});
