import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson, compareCodePoints } from '../../shared/canonical-json.ts';
import { maxNesting } from '../../shared/json-text.ts';

// --- an independent reference. It decodes names itself: JSON.parse of Node 24.21 may answer a wrong one (see below)

const token = /\s*([[\]{},:]|"(?:[^"\\]|\\.)*"|[^\s[\]{},:"]+)/gy;

function reference(text: string): string {
  const tokens = Array.from(text.matchAll(token), (match) => match[1]!);
  const value = (): string => {
    const first = tokens.shift()!;
    if (first.startsWith('"')) return JSON.stringify(decoded(first));
    if (first === '[') {
      const elements: string[] = [];
      while (tokens[0] !== ']') {
        elements.push(value());
        if (tokens[0] === ',') tokens.shift();
      }
      tokens.shift();
      return `[${elements.join(',')}]`;
    }
    if (first !== '{') return first;
    const members = new Map<string, string>();
    while (tokens[0] !== '}') {
      const name = decoded(tokens.shift()!);
      tokens.shift();
      members.set(name, value());
      if (tokens[0] === ',') tokens.shift();
    }
    tokens.shift();
    const names = [...members.keys()].sort(byCodePoints);
    return `{${names.map((name) => `${JSON.stringify(name)}:${members.get(name)}`).join(',')}}`;
  };
  return value();
}

const escapes: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

function decoded(quoted: string): string {
  return quoted
    .slice(1, -1)
    .replace(/\\(?:u(.{4})|(.))/g, (_, hex?: string, letter?: string) =>
      hex === undefined ? (escapes[letter!] ?? letter!) : String.fromCharCode(Number.parseInt(hex, 16)),
    );
}

function byCodePoints(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => Array.from(text, (character) => character.codePointAt(0)!)) as [
    number[],
    number[],
  ];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    if (left[at] !== right[at]) return left[at]! - right[at]!;
  }
  return left.length - right.length;
}

// --- texts that a sender may write, as opposed to those that JSON.stringify writes

const gap = fc.constantFrom('', ' ', '\n', '\t\r\n ');
const numberText = fc.oneof(
  fc.constantFrom('0', '-0', '1.10', '1e400', '1E5', '-1e-400', '0.1e+07', '12345678901234567890', '9007199254740993'),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => JSON.stringify(number)),
  fc.maxSafeInteger().map(String),
);
const characterText = fc.oneof(
  fc.constantFrom('a', 'b', 'Z', '0', '1', ' ', '!', '/', '\\/', '\\"', '\\\\', '\\n', '\\u0061', '\\u000A', '\\u001f'),
  fc.constantFrom(
    'é',
    '\u2028',
    '\u007f',
    '\ufffd',
    '\uff5e',
    '😀',
    '𐀀',
    '\\ud83d\\ude00',
    '\\uD800',
    '\\udfff',
    '\ud800',
  ),
);
const stringText = fc.oneof(
  fc.array(characterText, { maxLength: 6 }).map((characters) => `"${characters.join('')}"`),
  fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
  fc.constantFrom('"__proto__"', '"constructor"', '"0"', '"1"', '"10"', '"2"', '"-1"', '"01"', '"4294967295"', '""'),
);
const { value: jsonText } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(numberText, stringText, fc.constantFrom('true', 'false', 'null')),
    tie('array'),
    tie('object'),
  ),
  array: fc
    .tuple(fc.array(tie('value'), { maxLength: 4 }), gap)
    .map(([values, space]) => `[${space}${values.join(`${space},${space}`)}${space}]`),
  object: fc
    .tuple(fc.array(fc.tuple(stringText, tie('value')), { maxLength: 60, size: 'small' }), gap)
    .map(([members, space]) => {
      const texts = members.map(([name, value]) => `${name}${space}:${space}${value}`);
      return `{${space}${texts.join(`${space},${space}`)}${space}}`;
    }),
}));

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
  const folder = new URL('../fixtures/stripe-events/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  const lines = files.sort().map((file) => canonicalJson(readFileSync(new URL(file, folder), 'utf8')));
  const golden = readFileSync(new URL('../golden/stripe-events.canonical.jsonl', import.meta.url), 'utf8');
  assert.equal(`${lines.join('\n')}\n`, golden);
});
