import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressList, addressRange } from '../../shared/address-list.ts';

test('an address is on a list by itself or by its range, IPv4 also written as IPv6; what is not an address never', () => {
  const has = addressList(['192.0.2.7', '10.0.0.0/8', '2001:db8::/32', 'fe80::/10', '::ffff:198.51.100.0/120']);
  const on = [
    ...['192.0.2.7', '10.255.0.1', '2001:db8:1::1', '2001:DB8::', '::ffff:192.0.2.7', '::ffff:a00:1'],
    ...['fe80::1%eth0', '198.51.100.9', '::ffff:198.51.100.9'],
  ];
  const off = [
    ...['192.0.2.8', '11.0.0.1', '2001:db9::1', '::192.0.2.7', '::ffff:192.0.2.8', '198.51.101.9', '::1'],
    ...['', 'unknown', '192.0.2.7:443', '[2001:db8::1]', ' 192.0.2.7', '192.0.2.07', '192.0.2', '10.0.0.0/8'],
  ];
  assert.deepEqual(
    [...on, ...off].filter((address) => has(address)),
    on,
  );
  assert.equal(has(undefined), false);
});

test('what is neither an address nor a range is refused, and so is everybody', () => {
  const sound = ['192.0.2.7', '10.1.2.3/8', '0.0.0.0/1', '192.0.2.7/32', '::1', '2001:db8::/128', '::ffff:192.0.2.7'];
  const wrong = [
    ...['', 'localhost', '192.0.2', '192.0.2.7/', '192.0.2.7/0', '192.0.2.7/33', '192.0.2.7/8/8', '192.0.2.7/08'],
    ...['::/0', '::/129', '::1/-1', 'fe80::1%eth0', '192.0.2.7:443', '192.0.2.0/255.255.255.0', ' ::1', '10.0.0.0-9'],
  ];
  assert.deepEqual(
    [...sound, ...wrong].filter((text) => addressRange.safeParse(text).success),
    sound,
  );
});
