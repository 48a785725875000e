import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { type LoginPace, openLoginPace } from '../../../compactor/gate/login-pace.ts';

let nowMs = 0;
let pace: LoginPace;
beforeEach(() => {
  nowMs = Date.parse('2026-11-21T10:00:00Z');
  pace = openLoginPace({ now: () => new Date(nowMs) });
});

test('after three tries each one waits twice as long, a minute at most; an hour later it begins anew', () => {
  assert.deepEqual(
    [1, 2, 3].map(() => pace.begin('192.0.2.1')),
    [0, 0, 0],
  );
  for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
    assert.equal(pace.begin('192.0.2.1'), seconds * 1000);
    nowMs += seconds * 1000 - 1;
    assert.equal(pace.begin('192.0.2.1'), 1);
    nowMs += 1;
    assert.equal(pace.begin('192.0.2.1'), 0);
  }
  assert.equal(pace.begin('192.0.2.2'), 0, 'another address does not wait');
  nowMs += 3_600_000;
  assert.equal(pace.begin('192.0.2.1'), 0);
  assert.equal(pace.begin('192.0.2.1'), 0);
});

test('a right password clears the account of its address', () => {
  for (const _ of [1, 2, 3]) pace.begin('192.0.2.1');
  pace.succeeded('192.0.2.1');
  assert.equal(pace.begin('192.0.2.1'), 0);
});

test('the addresses of one IPv6 network count together, and an IPv4 address the same in both forms', () => {
  for (const last of ['1', '2', 'ffff:1']) assert.equal(pace.begin(`2001:db8::${last}`), 0);
  assert.equal(pace.begin('2001:db8:0:0:5::9'), 1000);
  assert.equal(pace.begin('2001:db8:0:1::1'), 0);
  for (const _ of [1, 2, 3]) pace.begin('::ffff:192.0.2.1');
  assert.equal(pace.begin('192.0.2.1'), 1000);
});

test('a thousand addresses are remembered, and no more', () => {
  for (const _ of [1, 2, 3]) pace.begin('192.0.2.1');
  for (let index = 0; index < 999; index += 1) pace.begin(`10.0.${index >> 8}.${index & 255}`);
  assert.equal(pace.begin('192.0.2.1'), 1000);
  pace.begin('10.1.0.0');
  assert.equal(pace.begin('192.0.2.1'), 0, 'it was the one that failed longest ago');
});
