import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DaybookError, messageOf } from '../../shared/errors.ts';

test('a message that quotes a key comes out without it, whoever wrote the message', () => {
  const said = [
    'Invalid API Key provided: sk_live_51Hdaybook',
    'rk_test_abc_DEF, sk_test_*****1234',
    'No such secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw==!',
  ];
  const without = ['Invalid API Key provided: sk_live_…', 'rk_test_…, sk_test_…', 'No such secret whsec_…!'];
  assert.deepEqual(
    said.map((detail) => new DaybookError('stripe_unreachable', { detail }).message),
    without,
  );
  assert.deepEqual(
    said.map((text) => messageOf(new Error(text))),
    without,
  );
});
