import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { elementTexts, maxNesting, memberText, nestingOf } from '../../../shared/json/json-text.ts';

/** A JSON text of the value with white space of every kind between its tokens. */
function spaced(value: unknown, space: string): string {
  if (Array.isArray(value)) {
    return `[${space}${value.map((element) => spaced(element, space)).join(`${space},${space}`)}${space}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([name, member]) => `${JSON.stringify(name)}${space}:${space}${spaced(member, space)}`,
    );
    return `{${space}${members.join(`${space},${space}`)}${space}}`;
  }
  return JSON.stringify(value);
}

const space = fc.constantFrom('', ' ', '\n\t', ' \r\n  ');

test('elements keep their bytes: numbers, escapes and inner white space as written', () => {
  assert.deepEqual(elementTexts(' [ 1.10 , -0,12345678901234567890 ,"a\\u0062,]" , {"x" : [ 1, 2 ]}, [] ,null] '), [
    '1.10',
    '-0',
    '12345678901234567890',
    '"a\\u0062,]"',
    '{"x" : [ 1, 2 ]}',
    '[]',
    'null',
  ]);
  assert.deepEqual(elementTexts('[]'), []);
  assert.deepEqual(elementTexts(' [ \n ] '), []);
  assert.deepEqual(elementTexts('["\\\\"]'), ['"\\\\"']);
  assert.deepEqual(elementTexts('["\\"","]"]'), ['"\\""', '"]"']);
});

test('the elements of any array are the texts that it was written from', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), space, (values, gap) => {
      const texts = values.map((value) => spaced(value, gap));
      assert.deepEqual(elementTexts(`${gap}[${gap}${texts.join(`${gap},${gap}`)}${gap}]${gap}`), texts);
    }),
  );
});

test('a member is found by its name, however the name is escaped, and of duplicates the last', () => {
  assert.equal(memberText('{"data":1,"d\\u0061ta" : {"a": 1.0} }', 'data'), '{"a": 1.0}');
  assert.equal(memberText('{"a":{"data":1},"b":["data",2]}', 'data'), undefined);
  assert.equal(memberText('{"__proto__":7}', '__proto__'), '7');
  assert.equal(memberText('{"a":"}","b":2}', 'b'), '2');
  assert.equal(memberText('{"\\"":1,"\\\\":2}', '\\'), '2');
  assert.equal(memberText('{}', 'a'), undefined);
  assert.equal(memberText('{"a":{"b":1}}', 'b'), undefined);
});

test('the member of any object is the text that it was written from', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), space, fc.nat(), (object, gap, pick) => {
      const names = Object.keys(object);
      const name = names[pick % names.length]!;
      assert.equal(memberText(spaced(object, gap), name), spaced(object[name], gap));
      assert.equal(memberText(spaced(object, gap), `${names.join('')}!`), undefined);
    }),
  );
});

test('real events give their data object verbatim', () => {
  const folder = new URL('../../fixtures/stripe-events/', import.meta.url);
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
    const text = readFileSync(new URL(file, folder), 'utf8');
    const data = memberText(text, 'data');
    assert.ok(data !== undefined && text.includes(data), file);
    assert.deepEqual(JSON.parse(data), JSON.parse(text).data, file);
  }
});

test('nesting counts brackets outside strings alone', () => {
  const nesting = (text: string) => nestingOf(Buffer.from(text));
  assert.equal(nesting('"[[[{"'), 0);
  assert.equal(nesting('{}'), 1);
  assert.equal(nesting('[[],{"a":[1]}]'), 3);
  assert.equal(nesting('["\\"[[[",[]]'), 2);
  assert.equal(nesting('["\\\\",[]]'), 2);
  assert.equal(nesting('['.repeat(maxNesting) + ']'.repeat(maxNesting)), maxNesting);
  assert.equal(nesting('['.repeat(1_000_000)), 1_000_000);
  assert.equal(nesting(''), 0);
});

test('text that is not JSON ends too', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: fc.constantFrom(...'[]{}",:\\ 1a') }), fc.string()), (text) => {
      for (const call of [() => elementTexts(text), () => memberText(text, 'a')]) {
        try {
          call();
        } catch (error) {
          assert.ok(error instanceof SyntaxError);
        }
      }
      nestingOf(Buffer.from(text));
    }),
    { numRuns: 2000 },
  );
});
