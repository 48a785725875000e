import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson, compareCodePoints } from '../../../shared/json/canonical-json.ts';
import { maxNesting } from '../../../shared/json/json-text.ts';
import { gap, jsonText, reference } from './json-texts.ts';

test('names are sorted and numbers copied as any parser with sources would', () => {
  fc.assert(
    fc.property(jsonText, gap, (text, space) => {
      assert.equal(canonicalJson(`${space}${text}${space}`), reference(text));
    }),
    { numRuns: 2000 },
  );
});

test('the canonical form of a canonical form is itself', () => {
  fc.assert(
    fc.property(jsonText, (text) => {
      const canonical = canonicalJson(text);
      assert.equal(canonicalJson(canonical), canonical);
    }),
    { numRuns: 1000 },
  );
});

test('it takes exactly what JSON.parse takes', () => {
  const tokens = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '0',
    '1',
    '-',
    '+',
    '.',
    'e',
    'E',
    ' ',
    '\n',
    '\u0001',
    '\ufeff',
  ];
  const noise = fc.string({ unit: fc.constantFrom(...tokens, 'true', 'false', 'null', '"a"', '\\u00', '\u00a0', 'x') });
  const damaged = fc.tuple(jsonText, fc.nat(), fc.constantFrom(...tokens, '')).map(([text, pick, token]) => {
    const at = pick % (text.length + 1);
    return text.slice(0, at) + token + text.slice(at + 1);
  });
  fc.assert(
    fc.property(fc.oneof(noise, damaged), (text) => {
      try {
        JSON.parse(text);
      } catch {
        assert.throws(() => canonicalJson(text), { name: 'SyntaxError' });
        return;
      }
      assert.equal(canonicalJson(text), reference(text));
    }),
    { numRuns: 5000 },
  );
});

test('hard cases come out as the archive promises', () => {
  const cases: [written: string, canonical: string][] = [
    ['{"b":12345678901234567890,"a":1.10}', '{"a":1.10,"b":12345678901234567890}'],
    ['[ -0, 1e400, 1E5, 0.0, -1.5E-07 ]', '[-0,1e400,1E5,0.0,-1.5E-07]'],
    ['{"__proto__":{"b":1,"a":2},"a":1}', '{"__proto__":{"a":2,"b":1},"a":1}'],
    ['{"10":1,"9":2,"a":3,"":4}', '{"":4,"10":1,"9":2,"a":3}'],
    ['{"a":1,"b":2,"a":{"x":3}}', '{"a":{"x":3},"b":2}'],
    ['{"\\u0061":1,"a":2,"\\u0061":3}', '{"a":3}'],
    ['{"a!":1,"a":2}', '{"a":2,"a!":1}'], // by names, not by their quoted text
    ['{"\u{1f600}":1,"\uff5e":2}', '{"\uff5e":2,"\u{1f600}":1}'], // by code point, not by UTF-16 unit
    ['"\\uD800 \\uDfFf \\ud83d\\ude00"', '"\\ud800 \\udfff 😀"'],
    ['"\\/\\u0041\\u0009\\u001F\\u007f\\u2028"', '"/A\\t\\u001f\u007f\u2028"'],
    [' {\n"a" : [ ] , "b":{\t} }\r\n', '{"a":[],"b":{}}'],
    ['null', 'null'],
  ];
  for (const [written, canonical] of cases) assert.equal(canonicalJson(written), canonical);
});

test('a name is what it says, whatever was read before', () => {
  // V8 as of Node 24.21 takes the escaped name for the one that an earlier object had in its place.
  JSON.parse('{"a":0,"\\\\":0}');
  assert.equal(canonicalJson('{"a":0,"\\\\":0}'), '{"\\\\":0,"a":0}');
  assert.equal(canonicalJson('{"a":0,"\\u0062":1}'), '{"a":0,"b":1}');
});

test('a lone surrogate in a name sorts at its own code point, before any pair', () => {
  assert.equal(
    canonicalJson('{"\\ud800\\udc00":1,"\\ud800x":2,"\\ud800":3,"\\uffff":4}'),
    '{"\\ud800":3,"\\ud800x":2,"\uffff":4,"𐀀":1}',
  );
});

test('objects of many members are sorted like small ones', () => {
  const members = Array.from({ length: 5000 }, (_, number) => `"${(number * 7919) % 5000}":${number}`);
  const text = `{${members.join(',')},"77":"last"}`;
  assert.equal(canonicalJson(text), reference(text));
});

test('nesting is followed to its limit and refused beyond, without a stack overflow', () => {
  const nested = (depth: number) => `${'{"a":['.repeat(depth / 2)}${']}'.repeat(depth / 2)}`;
  assert.equal(canonicalJson(nested(maxNesting)), nested(maxNesting));
  assert.throws(() => canonicalJson(nested(maxNesting + 2)), { code: 'json_too_deep' });
  assert.throws(() => canonicalJson('['.repeat(1_000_000)), { code: 'json_too_deep' });
  assert.equal(canonicalJson(`[${'[],'.repeat(1000)}[]]`).length, 3004);
});

test('an error tells the place and nothing of the content', () => {
  for (const text of ['{"card":"4242"', '["sk_live_4242\\x"]', '{"sk_live_4242"}', '[4242,]']) {
    assert.throws(
      () => canonicalJson(text),
      (error: Error) => error instanceof SyntaxError && !error.message.includes('4242'),
    );
  }
});

test('code points order texts as their UTF-8 bytes do', () => {
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom('a', 'b', '\uff5e', '𐀀', '😀', '😁'), fc.string({ unit: 'binary' })),
  });
  fc.assert(
    fc.property(text, text, (a, b) => {
      assert.equal(Math.sign(compareCodePoints(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
    { numRuns: 1000 },
  );
});

test('real events have the canonical lines that they had when the archive format was fixed', () => {
  const folder = new URL('../../fixtures/stripe-events/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  const lines = files.sort().map((file) => canonicalJson(readFileSync(new URL(file, folder), 'utf8')));
  const golden = readFileSync(new URL('../../golden/stripe-events.canonical.jsonl', import.meta.url), 'utf8');
  assert.equal(`${lines.join('\n')}\n`, golden);
});
