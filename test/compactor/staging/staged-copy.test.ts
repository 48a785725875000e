import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CopyFacts, decodeCopy, encodeCopy } from '../../../compactor/staging/staged-copy.ts';
import { dayOf } from '../../../shared/clock.ts';
import type { EventScope } from '../../../shared/schemes/stripe-scope.ts';

const cursor = fc.option(fc.constantFrom('0', '12', '49590338271490256608559692538361571095921575989136588898'), {
  nil: undefined,
});
const mode = fc.constantFrom('live', 'test', undefined);
const scope = fc
  .tuple(mode, fc.array(fc.string(), { maxLength: 3 }))
  .map(([mode, accounts]): EventScope => ({ mode, accounts }));
const facts: fc.Arbitrary<CopyFacts> = fc.record({
  origin: fc.constantFrom('delivered', 'republished', 'listed'),
  kind: fc.constantFrom('stripe', 'events'),
  instantMs: fc.nat(4e12),
  day: fc.constant(''),
  scope: fc.option(scope, { nil: undefined }),
  partition: fc.option(fc.constantFrom('0', 'shardId-000000000001'), { nil: undefined }),
  position: cursor,
  before: cursor,
  after: cursor,
});

test('a copy comes back as it was staged, whatever it tells', () => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
  fc.assert(
    fc.property(fc.array(fc.tuple(bytes, fc.string(), facts), { minLength: 1, maxLength: 4 }), (copies) => {
      for (const [body, text, told] of copies) {
        const head = Buffer.from(JSON.stringify({ text }).slice(0, -1));
        const copy = decodeCopy('an id', Buffer.concat(encodeCopy(body, head, told)));
        const { id, origin, kind, instantMs, day, scope, partition, position, before, after } = copy;
        const found = { id, origin, kind, instantMs, day, scope, partition, position, before, after };
        assert.deepEqual(found, { ...told, id: 'an id', day: dayOf(told.instantMs) });
        assert.deepEqual([copy.body, copy.headerBytes], [body, head]);
        assert.deepEqual(copy.record, Buffer.concat([body, Buffer.of(0), head]));
        assert.deepEqual(copy.header(), { text });
      }
    }),
  );
});
