import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Stripe } from 'stripe';
import { keyidOf, type Secret } from '../../../shared/schemes/secrets.ts';
import { verifyStripeDelivery, verifyStripeSignature } from '../../../shared/schemes/stripe.ts';
import { signatureHeader, stripeSignatureHeader } from '../../stripe/webhook-sender.ts';

const nowSeconds = 1_800_000_000;
const nowMs = nowSeconds * 1000 + 999;
const body = '{"id":"evt_1","object":"event"}';
const digest = 'a'.repeat(64);

function secret(text: string, notAfterMs?: number): Secret {
  return { text, keyid: keyidOf(text), notAfterMs };
}

const current = secret('whsec_current');
const previous = secret('whsec_previous');

function verdict(header: string | undefined, secrets: readonly Secret[] = [current], at = nowMs): string {
  const result = verifyStripeDelivery(header, Buffer.from(body), secrets, at);
  return 'secret' in result ? `ok ${result.secret.text}` : result.code;
}

const signed = (timestampSeconds = nowSeconds, secrets = [current.text]) =>
  signatureHeader({ body, secrets, timestampSeconds });

test('what the stripe package signs is accepted, and the secret that matched is named by its fingerprint', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), fc.string({ minLength: 1 }), (payload, text) => {
      fc.pre(text.trim() !== '' && payload.isWellFormed() && text.isWellFormed());
      const header = stripeSignatureHeader(payload, text, nowSeconds);
      const result = verifyStripeDelivery(header, Buffer.from(payload), [previous, secret(text)], nowMs);
      assert.ok('secret' in result);
      assert.equal(result.secret.keyid, keyidOf(text));
      assert.equal(result.signedAtMs, nowSeconds * 1000);
    }),
  );
});

const headerItem = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    '=',
    't',
    't=',
    'v1',
    'v1=',
    'v0=fake',
    'v2=x',
    'x=y=z',
    `v1=${digest}`,
    `v0=${digest}`,
    't=-1',
  ),
  fc.constantFrom(
    `v1=${digest.toUpperCase()}`,
    `v1=${digest}0`,
    't=1e3',
    't=0x10',
    't=1.5',
    't= 1',
    't=00',
    't=9'.repeat(9),
  ),
  fc.integer().map((t) => `t=${t}`),
  fc.integer({ min: -400, max: 400 }).map((delta) => `t=${nowSeconds + delta}`),
  fc.integer({ min: -400, max: 400 }).map((delta) => signed(nowSeconds + delta)),
  fc.constantFrom(signed(), signed().split(',')[1]!, signed().toUpperCase(), ` ${signed()}`),
  fc.string(),
);

test('whatever header we accept, the stripe package accepts too, and no header makes us throw', () => {
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(headerItem, { maxLength: 5 }), (items) => {
      const header = items.join(',');
      if (!verdict(header).startsWith('ok')) return;
      accepted++;
      Stripe.webhooks.constructEvent(body, header, current.text, 300, undefined, nowMs);
    }),
    { numRuns: 5000 },
  );
  assert.ok(accepted > 50, `only ${accepted} of the headers were accepted: the property says little`);
});

test('any of several active secrets verifies, against any of several v1', () => {
  assert.equal(verdict(signed(nowSeconds, [previous.text]), [current, previous]), 'ok whsec_previous');
  assert.equal(verdict(signed(nowSeconds, ['whsec_other', current.text]), [current]), 'ok whsec_current');
  assert.equal(verdict(signed(nowSeconds, ['whsec_other']), [current, previous]), 'signature_mismatch');
  assert.equal(verdict(signed(), []), 'signature_mismatch');
});

test('what is kept as evidence is the time and the signature that holds, whatever else the header has', () => {
  const header = signed();
  const [t, v1] = header.split(',');
  for (const junk of [`${header},v0=fake,x=${'y'.repeat(9_000)}`, `x=1,v1=${'0'.repeat(64)},${v1},${t}`]) {
    const result = verifyStripeSignature(junk, Buffer.from(body), [current]);
    assert.ok('secret' in result);
    assert.equal(result.signedheaders, `stripe-signature: ${header}`);
    const kept = result.signedheaders.slice('stripe-signature: '.length);
    assert.ok('secret' in verifyStripeSignature(kept, Buffer.from(body), [current]));
  }
});

test('v0 and other schemes count for nothing', () => {
  const [time, v1] = signed().split(',');
  assert.equal(verdict(`${time},${v1!.replace('v1', 'v0')}`), 'signature_malformed');
  assert.equal(verdict(`${time},v0=${digest},${v1},v2=later`), 'ok whsec_current');
});

test('a signature may be 300 s old or ahead by the whole second, not 301', () => {
  assert.equal(verdict(signed(nowSeconds - 300)), 'ok whsec_current');
  assert.equal(verdict(signed(nowSeconds - 301)), 'signature_stale');
  assert.equal(verdict(signed(nowSeconds + 300)), 'ok whsec_current');
  assert.equal(verdict(signed(nowSeconds + 301)), 'signature_in_future');
});

test('a stale signature of another secret is a mismatch: the clock is looked at last', () => {
  assert.equal(verdict(signed(nowSeconds - 9999, ['whsec_other'])), 'signature_mismatch');
});

test('a secret past its notAfter verifies no more, and the refusal says that it was this', () => {
  const old = secret('whsec_old', nowMs - 1);
  const justValid = secret('whsec_old', nowMs);
  const header = signed(nowSeconds, ['whsec_old']);
  assert.equal(verdict(header, [current, justValid]), 'ok whsec_old');
  assert.equal(verdict(header, [current, old]), 'signature_secret_expired');
  assert.equal(verdict(signed(nowSeconds, ['whsec_old', current.text]), [old, current]), 'ok whsec_current');
  assert.equal(verdict(signed(nowSeconds, ['whsec_other']), [current, old]), 'signature_mismatch');
});

test('evidence verifies years later: without the clock and with secrets that have expired', () => {
  const old = secret('whsec_old', 0);
  const header = signed(1_400_000_000, ['whsec_old']);
  const result = verifyStripeSignature(header, Buffer.from(body), [current, old]);
  assert.ok('secret' in result);
  assert.equal(result.secret, old);
});

for (const [what, header, code] of [
  ['no header', undefined, 'signature_missing'],
  ['an empty header', '', 'signature_missing'],
  ['no t', `v1=${digest}`, 'signature_malformed'],
  ['an empty t', `t=,v1=${digest}`, 'signature_malformed'],
  ['a negative t', `t=-1,v1=${digest}`, 'signature_malformed'],
  ['a t with a leading zero', `t=0${nowSeconds},v1=${digest}`, 'signature_malformed'],
  ['a t beyond all dates', `t=${'9'.repeat(30)},v1=${digest}`, 'signature_malformed'],
  ['two t', `t=${nowSeconds},${signed()}`, 'signature_malformed'],
  ['no v1', `t=${nowSeconds}`, 'signature_malformed'],
  ['an empty v1', `t=${nowSeconds},v1=`, 'signature_malformed'],
  ['a short v1', `t=${nowSeconds},v1=abc`, 'signature_malformed'],
  ['upper-case hex', signed().toUpperCase().replace('T=', 't=').replace('V1=', 'v1='), 'signature_malformed'],
  ['a right v1 beside a malformed one', `${signed()},v1=zz`, 'signature_malformed'],
  ['spaces after the commas', signed().replace(',', ', '), 'signature_malformed'],
  ['a header sent twice', `${signed()}, ${signed()}`, 'signature_malformed'],
  ['a value that would break `signedheaders`', `${signed()},x=a; b`, 'signature_malformed'],
  ['bytes that are not ASCII', `${signed()},x=ä`, 'signature_malformed'],
] as const) {
  test(`${what} is ${code}`, () => assert.equal(verdict(header), code));
}

test('a changed body, by a byte or by a byte order mark, is a mismatch', () => {
  for (const changed of [`${body} `, `\uFEFF${body}`, body.replace('1', '2'), '']) {
    const result = verifyStripeDelivery(signed(), Buffer.from(changed), [current], nowMs);
    assert.ok('code' in result && result.code === 'signature_mismatch');
  }
});
