import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalBytes, canonicalJson } from '../../../shared/json/canonical-json.ts';
import { quickCanonical, quickReader } from '../../../shared/json/json-bytes.ts';
import { jsonText, reference } from './json-texts.ts';

const utf8 = (text: string) => Buffer.from(text.toWellFormed());

test('what the quick way takes comes out as the independent reference has it', () => {
  let taken = 0;
  fc.assert(
    fc.property(jsonText, (text) => {
      const json = utf8(text);
      const quick = quickCanonical(json);
      if (quick === undefined) return;
      taken += 1;
      assert.equal(quick.toString(), reference(json.toString()));
    }),
    { numRuns: 2_000 },
  );
  assert.ok(taken > 500, `it took ${taken} of 2000`);
});

test('the quick way takes nothing that JSON.parse refuses, whatever byte is changed, put in or left out', () => {
  fc.assert(
    fc.property(
      jsonText,
      fc.nat(),
      fc.nat({ max: 255 }),
      fc.constantFrom('change', 'insert', 'remove'),
      (text, place, byte, how) => {
        const bytes = [...utf8(text)];
        const at = place % bytes.length;
        if (how === 'insert') bytes.splice(at, 0, byte);
        else if (how === 'remove') bytes.splice(at, 1);
        else bytes[at] = byte;
        const json = Buffer.from(Buffer.from(bytes).toString());
        const quick = quickCanonical(json);
        if (quick !== undefined) assert.equal(quick.toString(), canonicalJson(json.toString()));
      },
    ),
    { numRuns: 5_000 },
  );
});

test('the quick way takes every real Stripe event', () => {
  const folder = new URL('../../fixtures/stripe-events/', import.meta.url);
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
    const json = readFileSync(new URL(name, folder));
    assert.equal(quickCanonical(json)?.toString(), canonicalJson(json.toString()), name);
  }
});

test('large, deep and crowded texts go the general way and come out the same', () => {
  const crowded = `{${Array.from({ length: 300 }, (_, at) => `"m${299 - at}":${at}`).join(',')}}`;
  const deep = `${'['.repeat(201)}${']'.repeat(201)}`;
  for (const text of [crowded, `"${'x'.repeat(70_000)}"`, '{"\\u0061":1}', '[[1,2],'.repeat(3)]) {
    assert.equal(quickCanonical(utf8(text)), undefined);
  }
  assert.equal(canonicalBytes(utf8(crowded)).toString(), canonicalJson(crowded));
  assert.equal(quickCanonical(utf8(deep)), undefined);
  assert.equal(quickCanonical(Buffer.from([0x22, 0xff, 0x22])), undefined, 'no UTF-8');
  assert.throws(() => canonicalBytes(utf8(deep)), { code: 'json_too_deep' });
});

test('members are picked as JSON.parse has them, of duplicates the last, without what was not asked for', () => {
  const read = quickReader({ id: true, a: true, none: true, deep: { id: true }, list: true, shallow: true });
  for (const text of ['"a \\"b\\"\\n\\\\"', '"\\/é"', '"é"', '""', 'true', 'false', 'null', '1e3']) {
    assert.deepEqual(read(utf8(`{"id":${text}}`)), { id: JSON.parse(text) });
  }
  const json = utf8(
    '{"id": "x\\u0041", "a" : 1.10 ,"deep":{"id":2,"b":1},"list":[1], "a":-0, "shallow":{"id":1},"z":1}',
  );
  assert.deepEqual(read(json), { id: 'xA', a: -0, deep: { id: 2 }, list: [], shallow: {} });
  for (const other of ['[]', '"id"', '1', 'null', '{', '']) assert.equal(read(utf8(other)), undefined);
});
