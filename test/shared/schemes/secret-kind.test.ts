import assert from 'node:assert/strict';
import { test } from 'node:test';
import { secretKind, unquoted } from '../../../shared/schemes/secret-kind.ts';

test('secrets are told apart by their prefixes, also with quotes and white space around them', () => {
  for (const [text, kind, mode] of [
    ['whsec_abc', 'signing secret', undefined],
    [' "whsec_abc"\n', 'signing secret', undefined],
    ['sk_live_1', 'secret API key', 'live'],
    ['rk_test_1', 'restricted API key', 'test'],
    ['pk_live_1', 'publishable API key', 'live'],
    ['we_123', "webhook endpoint's id", undefined],
    ['-----BEGIN PRIVATE KEY-----', 'PEM', undefined],
    ['changeme', 'other', undefined],
  ] as const) {
    assert.deepEqual(secretKind(text), mode === undefined ? { kind } : { kind, mode });
  }
  assert.equal(unquoted(`' a"b '`), 'a"b');
});
