/** A line of evidence is made in two ways, by how its header is written; the lines are the same. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type Books, openBooks } from '../books.ts';

let books: Books;
before(async () => {
  books = await openBooks();
});
after(() => books.close());

const text = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1 }),
  fc.constantFrom('a "quote"', 'a\\b', 'é', '😀', '\u007f'),
);
const header = fc.record({
  subject: fc.option(text, { nil: undefined }),
  time: fc.option(fc.constant('2026-11-18T12:00:00+01:00'), { nil: undefined }),
  receivedat: fc.constant('2026-11-18T12:00:00.000Z'),
  signedheaders: fc.option(text, { nil: undefined }),
  path: fc.option(text, { nil: undefined }),
  keyid: fc.option(fc.constantFrom('0123456789abcdef', 'x"y'), { nil: undefined }),
});
/** As ingest writes it; with white space; and with a member more, before the others. */
const writings = [
  (members: object) => JSON.stringify(members).slice(0, -1),
  (members: object) => JSON.stringify(members, null, 1).slice(0, -2),
  (members: object) => `{"more":1,${JSON.stringify(members).slice(1, -1)}`,
];

test('whatever its header holds and however it is written, a delivery has the line that JSON.stringify makes', async () => {
  const samples = fc.sample(fc.tuple(header, fc.constantFrom(...writings)), { numRuns: 300, seed: 7 });
  const expected = samples.map(([{ subject, time, receivedat, ...others }, write], number) => {
    const id = `event ${number} ${number % 3 === 0 ? 'é' : 'e'}`;
    const first = { specversion: '1.0', id, source: '/events/billing', type: 'metric', subject, time };
    const known = { receivedat, via: 'events', scheme: 'panda' };
    const { keyid, signedheaders, path } = others;
    const head = write({ ...first, datacontenttype: 'application/json', ...known, signedheaders, path, keyid });
    const body = number === 0 ? JSON.stringify({ long: '"'.repeat(40_000) }) : `{"n":${number},\n"t":"a\\u0041\\n"}`;
    return {
      id,
      value: Buffer.from(`${head},"data":${body}}`),
      line: JSON.stringify({ id, ...known, keyid, signedheaders, path, body }),
    };
  });
  await books.deliver(...expected.map(({ id, value }) => ({ key: id, value })));
  const { warnings, errors } = await books.night([{ name: 'billing', kind: 'events' }]);
  assert.deepEqual([warnings, errors], [[], []]);
  const { deliveries } = (await books.manifest(1)).sources.billing!['2026-11-18']!.parts[0]!;
  const lines = await books.lines(deliveries!.key);
  assert.deepEqual(lines.toSorted(), expected.map(({ line }) => line).sort());
});
