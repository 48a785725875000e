import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { NotRedactable, parseBody, redactBody } from '../../../ingest/redact/redact-body.ts';
import { compileRules } from '../../../ingest/redact/rules.ts';
import { redactionSchema } from '../../../shared/redaction.ts';

const hashKey = 'k'.repeat(32);

/** The event after the rules of a DAYBOOK_REDACTION, as source `platform` and type `test` unless said otherwise. */
function redacted(event: object | string, redaction: object = {}, source = 'platform', type = 'test'): unknown {
  const text = typeof event === 'string' ? event : JSON.stringify(event);
  const ruleOf = compileRules(redactionSchema.parse(redaction))(source, type);
  return JSON.parse(redactBody(parseBody(Buffer.from(text)), ruleOf, hashKey));
}

const own = (...rules: object[]) => ({ defaults: false, rules });

const folder = new URL('../../fixtures/stripe-events/', import.meta.url);
const fixtures = readdirSync(folder).filter((name) => name.endsWith('.json'));

/** Each text below a value, and the names that lead to it. */
function* texts(value: unknown, names: readonly string[] = []): Generator<{ names: readonly string[]; text: string }> {
  if (typeof value === 'string') yield { names, text: value };
  else if (typeof value === 'object' && value !== null) {
    for (const [name, each] of Object.entries(value)) {
      yield* texts(each, Array.isArray(value) ? names : [...names, name]);
    }
  }
}

/** Written beside the table of rules, not from it: which texts of a Stripe event nobody may find afterwards. */
function isPersonal(names: readonly string[], text: string, type: string): boolean {
  const last = names.at(-1)!;
  if (text === '') return false;
  if (/^[^@\s]+@[^@\s]+\.\w+$/.test(text) || /^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return true;
  if (last === 'name' || /_name$/.test(last)) return !type.startsWith('product.') && !names.includes('metadata');
  if (
    /^(client_secret|last4|fingerprint|phone|exp_month|exp_year|receipt_url|hosted_invoice_url|invoice_pdf)$/.test(last)
  )
    return true;
  if (names.some((name) => /address|billing_details|shipping|ip$|evidence|custom_fields/.test(name)))
    return !/check$/.test(last);
  return type.startsWith('customer.tax_id') && last === 'value';
}

test('of all real events no e-mail, name, address, phone, card, link or secret is left, in whatever text', () => {
  assert.equal(fixtures.length, 39);
  let looked = 0;
  for (const name of fixtures) {
    const event = JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
    const left = redacted(event, {}, 'platform', event.type);
    const personal = [...texts(event)].filter(({ names, text }) => isPersonal(names, text, event.type));
    looked += personal.length;
    const found = personal.flatMap(({ names, text }) =>
      [...texts(left)]
        .filter(({ text: whole }) =>
          text.length < 4 ? whole === text && names.at(-1) !== 'country' : whole.includes(text),
        )
        .map((place) => `${name}: ${names.join('.')} is in ${place.names.join('.')}`),
    );
    assert.deepEqual(found, []);
    assert.doesNotMatch(JSON.stringify(left), /"(?:exp_month|exp_year|cvc|ip|email|phone|address)":/);
  }
  assert.equal(looked, 59, 'texts were looked for');
});

test('of real events all else is left as it was', () => {
  const event = JSON.parse(readFileSync(new URL('charge_failed.json', folder), 'utf8'));
  const left = redacted(event, {}, 'platform', event.type) as typeof event;
  const { id, type, created, livemode, api_version, request } = event;
  assert.deepEqual(
    { id, type, created, livemode, api_version, request },
    {
      id: left.id,
      type: left.type,
      created: left.created,
      livemode: left.livemode,
      api_version: left.api_version,
      request: left.request,
    },
  );
  const object = left.data.object;
  assert.deepEqual(
    [
      object.amount,
      object.currency,
      object.failure_code,
      object.outcome.reason,
      object.payment_method_details.card.brand,
    ],
    [
      event.data.object.amount,
      'usd',
      'card_declined',
      'transaction_not_allowed',
      event.data.object.payment_method_details.card.brand,
    ],
  );
  const product = JSON.parse(readFileSync(new URL('product_created.json', folder), 'utf8'));
  assert.equal((redacted(product, {}, 'platform', product.type) as typeof product).data.object.name, 'fake product');
});

test('a name that stands in a description goes out of it, whatever its case, and out of no id', () => {
  const event = {
    name: 'Jo Copple',
    id: 'cus_jo copplex',
    note: 'for JO COPPLE, and jo.copples',
    kind: 'copple',
    line: 'jo copple',
  };
  assert.deepEqual(redacted(event), {
    id: 'cus_jo copplex',
    note: 'for [removed], and jo.copples',
    kind: 'copple',
    line: '[removed]',
  });
  assert.deepEqual(redacted({ email: 'a.b+c@x.example', text: 'ask (a.b+c@x.example)', other: 'aXb+c@x.example' }), {
    text: 'ask ([removed])',
    other: 'aXb+c@x.example',
  });
  assert.deepEqual(redacted({ name: 'a "b" \\ ü', text: 'it is A "B" \\ Ü!' }), { text: 'it is [removed]!' });
});

test('names match at any depth, in arrays, whatever their case, with and without _ and -', () => {
  const event = {
    a: [{ Email: 1, b: [[{ customer_Email: 2, x: 3 }]] }],
    firstName: 'J',
    'IP-Address': '::1',
    'client\u005fsecret': 's',
  };
  assert.deepEqual(redacted(event), { a: [{ b: [[{ x: 3 }]] }] });
});

test('a name with escapes is the name that it stands for, and of a name that is there twice neither value is left', () => {
  assert.deepEqual(redacted('{"\\u0065mail":"x@y.example","\\u006eame":"Jo","a":"\\u0041"}'), { a: 'A' });
  assert.deepEqual(
    redacted('{"email":"a@x.example","email":"b@x.example","__proto__":{"email":"c","ok":1}}'),
    JSON.parse('{"__proto__":{"ok":1}}'),
  );
});

test('a path leads from the event with $., from anywhere without, and * is any one name', () => {
  const event = { a: { b: { c: 1 } }, b: { c: 2, d: 3 }, c: 4 };
  assert.deepEqual(redacted(event, own({ remove: ['$.c'] })), { a: { b: { c: 1 } }, b: { c: 2, d: 3 } });
  assert.deepEqual(redacted(event, own({ remove: ['b.c'] })), { a: { b: {} }, b: { d: 3 }, c: 4 });
  assert.deepEqual(redacted(event, own({ remove: ['$.*.c'] })), { a: { b: { c: 1 } }, b: { d: 3 }, c: 4 });
  assert.deepEqual(redacted(event, own({ remove: ['b.*'] })), { a: { b: {} }, b: {}, c: 4 });
  assert.deepEqual(redacted(event, own({ keep: ['$.b', 'd'], remove: ['*'] })), { b: { d: 3 } });
});

test('a rule is for its source and its type, and the first that names a member decides', () => {
  const rules = own(
    { source: 'bill*', type: 'user.*.made', keep: ['a'] },
    { type: 'user.*', hash: ['a'] },
    { remove: ['a'] },
  );
  assert.deepEqual(redacted({ a: 'x' }, rules, 'billing', 'user.x.made'), { a: 'x' });
  const hash = `hmac-sha256:${createHmac('sha256', hashKey).update('x').digest('hex')}`;
  assert.deepEqual(redacted({ a: 'x' }, rules, 'billing', 'user.x'), { a: hash });
  assert.deepEqual(redacted({ a: 'x' }, rules, 'platform', 'user.x.made'), { a: hash });
  assert.deepEqual(redacted({ a: 'x' }, rules, 'platform', 'userx'), {});
  assert.deepEqual(redacted({ email: 'x' }, { rules: [{ keep: ['email'] }] }), { email: 'x' }, 'before the defaults');
  assert.deepEqual(redacted({ email: 'x' }, { defaults: false }), { email: 'x' });
});

test('hashes are of the value, truncated texts keep whole characters, null stays', () => {
  const hash = (text: string) => `hmac-sha256:${createHmac('sha256', hashKey).update(text).digest('hex')}`;
  assert.deepEqual(redacted({ a: [1, '1', true, null, 'x y'], b: 'x y' }, own({ hash: ['a'] })), {
    a: [hash('1'), hash('1'), hash('true'), null, hash('x y')],
    b: 'x y',
  });
  const cut = own({ truncate: { a: 3 } });
  assert.deepEqual(redacted({ a: 'ab😀d', b: ['abc'], c: 'say ab😀d' }, cut), {
    a: 'ab😀…',
    b: ['abc'],
    c: 'say [removed]',
  });
  assert.deepEqual(redacted({ a: ['abcd', 'abc', null] }, cut), { a: ['abc…', 'abc', null] });
});

test('what a rule cannot do, and what is not an object, is refused without a word of it', () => {
  const reason = (event: object | string, redaction?: object) => {
    try {
      redacted(event, redaction);
    } catch (error) {
      assert.ok(error instanceof NotRedactable);
      return error.message;
    }
    return undefined;
  };
  assert.equal(reason({ a: { secret: 1 } }, own({ hash: ['a'] })), 'hash a: the value is an object');
  assert.equal(reason({ a: [{ secret: 1 }] }, own({ truncate: { a: 1 } })), 'truncate a: the value is an object');
  assert.equal(reason({ a: 4242 }, own({ truncate: { a: 1 } })), 'truncate a: the value is not a text');
  assert.equal(reason('{"a":"secret'), 'data is not JSON');
  assert.equal(reason('["secret"]'), 'data is not an object');
  for (const rules of [{}, own({ remove: ['a'] }), own({ hash: ['a'] })]) {
    const deep = (levels: number) => `{"a":${'['.repeat(levels)}1${']'.repeat(levels)}}`;
    assert.equal(reason(deep(199), rules), undefined);
    for (const levels of [200, 100_000]) assert.equal(reason(deep(levels), rules), 'data is nested too deeply');
  }
});

test('a number that JavaScript cannot hold is left as the text that it was', () => {
  assert.deepEqual(redacted('{"a":12345678901234567890,"b":1234567890123456,"c":"1234567890123456789","d":1.5}'), {
    a: '12345678901234567890',
    b: 1234567890123456,
    c: '1234567890123456789',
    d: 1.5,
  });
});

test('of Stripe’s objects that no fixture has nothing private is left either', () => {
  // As the API reference has them; every text that is private begins with P-, all else is to stay.
  const billing = { address: { line1: 'P-1', country: 'P-2' }, email: 'P-3', name: 'P-4', phone: 'P-5', tax_id: 'P-6' };
  const objects: Record<string, object> = {
    'payment_method.attached': {
      type: 'us_bank_account',
      billing_details: billing,
      us_bank_account: {
        bank_name: 'P-bank',
        last4: 'P-7',
        routing_number: 'P-8',
        account_type: 'checking',
        fingerprint: 'P-9',
      },
      sepa_debit: { bank_code: 'P-10', branch_code: 'P-11', country: 'DE', last4: 'P-12', fingerprint: 'P-13' },
      card: { brand: 'visa', iin: 'P-14', wallet: { type: 'apple_pay', dynamic_last4: 'P-15', apple_pay: {} } },
      paypal: { payer_email: 'P-16', payer_id: 'P-17', country: 'US' },
    },
    'payment_intent.requires_action': {
      client_secret: 'P-pi',
      next_action: { type: 'redirect_to_url', redirect_to_url: { url: 'P-18', return_url: 'P-19' } },
      shipping: { name: 'P-20', tracking_number: 'P-21', carrier: 'P-22' },
      payment_method_types: ['card'],
    },
    'checkout.session.completed': {
      url: 'P-23',
      status: 'complete',
      customer_details: { email: 'P-24', name: 'P-25', tax_ids: [{ value: 'P-26' }] },
      custom_fields: [{ text: { value: 'P-27' } }],
      collected_information: { shipping_details: { name: 'P-28' } },
      customer_email: 'P-29',
    },
    'charge.dispute.updated': {
      reason: 'fraudulent',
      evidence: { customer_purchase_ip: 'P-30', uncategorized_text: 'P-31', billing_address: 'P-32' },
    },
    'review.opened': { ip_address: 'P-33', ip_address_location: { city: 'P-34', latitude: 1 }, reason: 'rule' },
    'account.updated': {
      business_type: 'individual',
      individual: { first_name: 'P-35', dob: { day: 1 }, id_number_provided: true },
      business_profile: {
        mcc: '5734',
        name: 'P-36',
        support_email: 'P-37',
        support_phone: 'P-38',
        support_address: {},
      },
      external_accounts: { data: [{ object: 'bank_account', account_holder_name: 'P-39', currency: 'usd' }] },
    },
    'person.created': {
      first_name_kana: 'P-40',
      maiden_name: 'P-41',
      registered_address: { city: 'P-42' },
      ssn_last_4: 'P-43',
    },
    'source.chargeable': {
      owner: { verified_name: 'P-44' },
      redirect: { url: 'P-45', status: 'pending' },
      client_secret: 'P-46',
    },
    'customer.source.created': {
      address_line1: 'P-47',
      address_zip: 'P-48',
      exp_month: 1,
      brand: 'Visa',
      name: 'P-49',
    },
    'mandate.updated': { customer_acceptance: { type: 'online', online: { ip_address: 'P-50', user_agent: 'P-51' } } },
    'issuing_card.created': { number: 'P-52', cvc: 'P-53', cardholder: { name: 'P-54' }, status: 'active' },
    'identity.verification_session.verified': {
      url: 'P-55',
      verified_outputs: { first_name: 'P-56' },
      status: 'verified',
    },
    'cash_balance.funds_available': { financial_addresses: [{ iban: { iban: 'P-57', bic: 'P-58' } }], currency: 'eur' },
    'customer.tax_id.created': {
      type: 'eu_vat',
      value: 'P-59',
      verification: { status: 'verified', verified_name: 'P-60' },
    },
    'charge.refunded': { receipt_email: 'P-61', receipt_url: 'P-62', outcome: { type: 'authorized' } },
    'invoice.finalized': {
      customer_name: 'P-63',
      customer_address: { city: 'P-64' },
      number: 'ABC-1',
      invoice_pdf: 'P-65',
    },
  };
  for (const [type, object] of Object.entries(objects)) {
    const event = { id: 'evt_1', type, data: { object, previous_attributes: object } };
    const left = [...texts(redacted(event, {}, 'platform', type))].map(({ text }) => text);
    assert.deepEqual(
      left.sort(),
      [...texts(event)]
        .map(({ text }) => text)
        .filter((text) => !text.startsWith('P-'))
        .sort(),
      type,
    );
  }
});
