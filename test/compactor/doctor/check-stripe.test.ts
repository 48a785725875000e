/** What is found at Stripe: each finding provoked once, at a fake that answers in Stripe's shapes. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { checkStripe, type StripeSourceToCheck } from '../../../compactor/doctor/check-stripe.ts';
import type { Found } from '../../../shared/doctor/finding.ts';
import { type StripeSource, sourcesSchema } from '../../../shared/schemes/sources.ts';
import {
  eventDestination,
  type FakeStripe,
  type Fault,
  permissionRefusal,
  startFakeStripe,
  webhookEndpoint,
} from '../../stripe/fake-stripe.ts';

const apiKey = 'rk_test_51DaybookFakeKeyOfChecks';
let stripe: FakeStripe;
beforeEach(async () => {
  stripe = await startFakeStripe({ apiKey, accounts: ['acct_1One', 'acct_1Two'] });
  stripe.endpoints.push(webhookEndpoint());
});
afterEach(() => stripe.close());

interface Given extends Partial<Pick<StripeSourceToCheck, 'apiKey' | 'base' | 'hasThinEvents'>> {
  readonly source?: object;
}

async function look({ source, ...given }: Given = {}): Promise<Found[]> {
  const [parsed] = sourcesSchema.parse([
    { name: 'platform', scheme: 'stripe', secrets: ['x'], mode: 'test', apiKey, ...source },
  ]);
  const found = await checkStripe({
    source: parsed as StripeSource,
    apiKey,
    base: stripe.base,
    hasThinEvents: false,
    ...given,
  });
  for (const secret of [apiKey, ...(given.apiKey === undefined ? [] : [given.apiKey])]) {
    assert.equal(JSON.stringify(found).includes(secret), false);
  }
  assert.ok(found.every(({ status, hint }) => (hint === '') === (status === 'ok')));
  return found;
}

const complaints = (found: readonly Found[]) =>
  found.filter(({ status }) => status !== 'ok').map(({ status, message }) => `${status}: ${message}`);

const deny = (path: string, permission: string): Fault => ({
  action: permissionRefusal(permission),
  times: Number.POSITIVE_INFINITY,
  when: (request) => request.path === path,
});

function addEvent(id: string, type: string, change: object = {}): void {
  const created = Math.floor(Date.now() / 1000) - 600;
  stripe.add(JSON.stringify({ id, object: 'event', type, created, api_version: '2026-10-28.endive', ...change }));
}

test('a source that Stripe delivers to and lists as it should is without complaint', async () => {
  addEvent('evt_1', 'charge.succeeded');
  const found = await look();
  assert.deepEqual(complaints(found), []);
  const said = found.map(({ message }) => message).join('\n');
  assert.match(said, /^Stripe knows the key: it is of account acct_1DaybookFake0001$/m);
  assert.match(said, /^this machine's clock agrees with Stripe's$/m);
  assert.match(said, /^Stripe lists events, the newest of \d{4}-/m);
  assert.match(said, /^we_1DaybookFake0001 is pinned to API version 2026-10-28\.endive$/m);
});

test('a source without a key cannot be reconciled', async () => {
  const [found, ...more] = await checkStripe({
    source: { name: 'platform', scheme: 'stripe', secrets: ['x'] },
    apiKey: undefined,
    base: stripe.base,
    hasThinEvents: false,
  });
  assert.deepEqual([found!.status, more.length, stripe.requests.length], ['warning', 0, 0]);
  assert.match(found!.message, /cannot be reconciled/);
});

for (const [name, key, message] of [
  ['a signing secret', 'whsec_abcdefghijklmnopqrstuvwxyz', /is a signing secret, no key that can ask for events/],
  ['a publishable key', 'pk_test_abcdefghijklmnop', /is a publishable API key, no key/],
  ["an endpoint's id", 'we_1abcdefghijklmnop', /is a webhook endpoint's id/],
  ["an organisation's key without an account", 'sk_org_test_abcdefgh', /is an organisation's.*names none/],
  ['a key with quotes', `"${apiKey}"`, /has white space or quotes around it/],
] as const) {
  test(`${name} as apiKey is told by its looks, and never sent to Stripe`, async () => {
    const found = await look({ apiKey: key });
    assert.equal(found.length, 1);
    assert.deepEqual([found[0]!.status, found[0]!.code, stripe.requests.length], ['problem', 'stripe_key_refused', 0]);
    assert.match(found[0]!.message, message);
    assert.match(found[0]!.message, /\(keyid [0-9a-f]{16}\)/);
  });
}

test('a key that Stripe does not know is one problem, with what it looks like', async () => {
  const found = await look({ apiKey: 'sk_test_of_somebody_else' });
  assert.deepEqual(
    found.map(({ status, code }) => [status, code]),
    [
      ['warning', undefined],
      ['problem', 'stripe_key_refused'],
    ],
  );
  assert.match(found[0]!.message, /is a secret API key, which may do anything$/);
  assert.match(found[1]!.message, /^Stripe does not know the key: Stripe answers 401/);
});

test('a text that looks like no key of Stripe is told beside its refusal', async () => {
  const found = await look({ apiKey: 'daybook' });
  assert.match(
    complaints(found).join('\n'),
    /^warning: .* does not look like any of Stripe's API keys\nproblem: Stripe does not know the key/,
  );
});

test("a key of the other mode than the source's is a problem; a source without a mode a warning", async () => {
  assert.match(
    complaints(await look({ source: { mode: 'live' } }))[0]!,
    /^problem: .* is of test mode, the source of live mode/,
  );
  assert.match(
    complaints(await look({ source: { mode: undefined } }))[0]!,
    /^warning: .* is of test mode, the source takes live and test/,
  );
});

test('a restricted key that may not read its account is sound; one that may not list events is told what it lacks', async () => {
  stripe.faults.push(deny('/v1/account', 'rak_accounts_kyc_basic_read'));
  assert.deepEqual(complaints(await look()), []);
  stripe.faults.push(deny('/v1/events', 'rak_event_read'));
  const found = (await look()).find(({ status }) => status === 'problem')!;
  assert.equal(found.code, 'stripe_access_refused');
  assert.match(found.message, /^Stripe refuses the key the list of events \(it lacks rak_event_read\)/);
  assert.equal(found.hint, 'Give the key read access to Events.');
  assert.doesNotMatch(JSON.stringify(found), /FakeKy|required permissions/);
});

test('a Stripe that does not answer is one problem, after a second try', async () => {
  stripe.faults.push({ action: 'server error', times: 2 });
  const [found] = (await look()).filter(({ status }) => status === 'problem');
  assert.equal(found!.code, 'stripe_unreachable');
  assert.equal(stripe.requests.length, 2);
  stripe.faults.push({ action: 'server error', times: 1 });
  assert.deepEqual(complaints(await look()), []);
  const nobody = await look({ base: new URL('http://127.0.0.1:1') });
  assert.match(complaints(nobody).join('\n'), /^problem: Stripe: .*ECONNREFUSED/);
});

test("a clock that is not Stripe's is told by how much", async () => {
  const date = new Date(Date.now() - 400_000).toUTCString();
  const when: Fault['when'] = ({ path }) => path === '/v1/account';
  stripe.faults.push({ action: { status: 200, body: '{"id":"acct_1"}', headers: { date } }, when });
  assert.match(complaints(await look())[0]!, /^problem: this machine's clock is (399|400|401) s ahead of Stripe's/);
});

test('connected accounts are asked for one by one, and one that is refused is named', async () => {
  const found = await look({ source: { accounts: ['acct_1One', 'acct_1Gone', 'acct_1Two'] } });
  assert.match(complaints(found)[0]!, /^problem: Stripe refuses the key the events of acct_1Gone: .*account_invalid/);
  assert.match(
    found.find(({ status }) => status === 'problem')!.hint,
    /^See whether acct_1Gone is \(still\) of this platform/,
  );
  assert.ok(found.some(({ message }) => message === 'Stripe lists the events of 2 of 3 accounts'));
  const all = await look({ source: { accounts: 'all' } });
  assert.deepEqual(complaints(all), []);
  assert.ok(all.some(({ message }) => message === 'Stripe lists the events of 2 of 2 accounts'));
});

test("an organisation's key is asked with each of its accounts, and so are their endpoints", async () => {
  const key = 'sk_org_test_DaybookFakeKeyOfChecks';
  const source = { accounts: ['acct_1One', 'acct_1One/acct_1Two', 'acct_1Gone'] };
  const organisation = await startFakeStripe({ apiKey: key, accounts: source.accounts.slice(0, 2) });
  const found = await look({ base: organisation.base, apiKey: key, source });
  await organisation.close();
  const said = found.map(({ message }) => message).join('\n');
  assert.match(said, /is a secret key of an organisation of test mode\nStripe knows the key$/m);
  assert.match(said, /^Stripe lists the events of 2 of 3 accounts$/m);
  assert.match(said, /^acct_1One\/acct_1Two: no endpoint of its own has a URL.*organisation's sends/m);
  assert.ok(organisation.requests.every(({ headers }) => headers['stripe-account'] === undefined));
  const all = await look({ apiKey: key, source: { accounts: 'all' } });
  assert.deepEqual([all.length, all[0]!.code], [1, 'stripe_key_refused']);
});

test('"all" accounts, where there are none or where they may not be listed', async () => {
  stripe.faults.push(deny('/v1/accounts', 'rak_connected_accounts_read'));
  assert.match(
    complaints(await look({ source: { accounts: 'all' } }))[0]!,
    /the list of connected accounts \(it lacks rak_connected/,
  );
  const lonely = await startFakeStripe({ apiKey });
  lonely.endpoints.push(webhookEndpoint());
  const found = await look({ base: lonely.base, source: { accounts: 'all' } });
  await lonely.close();
  assert.match(complaints(found)[0]!, /^warning: Stripe names no connected account/);
});

for (const [name, endpoints, expected] of [
  [
    'no endpoint at all',
    [],
    /^problem: no endpoint at Stripe has a URL that ends with \/webhooks\/platform: nothing is delivered$/,
  ],
  [
    'an endpoint of another source alone',
    [webhookEndpoint({ url: 'https://u:pass@hooks.example.com/webhooks/other?token=t' })],
    /^problem: no endpoint at Stripe has a URL/,
  ],
  [
    'a slash too many',
    [webhookEndpoint({ url: 'https://hooks.example.com/webhooks/platform/' })],
    /^problem: we_1DaybookFake0001 sends to hooks\.example\.com\/webhooks\/platform\/, which ingest answers with 404/,
  ],
  [
    'an endpoint that is disabled',
    [webhookEndpoint({ status: 'disabled' })],
    /^problem: we_1DaybookFake0001 \(.*\) is disabled: nothing/,
  ],
  [
    'an endpoint of the other mode',
    [webhookEndpoint({ livemode: true })],
    /^problem: we_1DaybookFake0001 sends events of live mode, which the source refuses/,
  ],
  [
    'an endpoint without a version',
    [webhookEndpoint({ api_version: null })],
    /^warning: we_1DaybookFake0001 has no API version of its own/,
  ],
  [
    'the same endpoint twice',
    [webhookEndpoint(), webhookEndpoint({ id: 'we_2' })],
    /^warning: 2 enabled endpoints send to this source: we_1DaybookFake0001 \(.*\), we_2 \(/,
  ],
] as const) {
  test(`${name} is told, without what its URL may hold of secrets`, async () => {
    stripe.endpoints.splice(0, 1, ...endpoints);
    const found = await look();
    assert.match(complaints(found)[0]!, expected);
    assert.doesNotMatch(JSON.stringify(found), /pass@|token=/);
  });
}

test('a disabled endpoint beside an enabled one is not a complaint', async () => {
  stripe.endpoints.push(webhookEndpoint({ id: 'we_2', status: 'disabled' }));
  assert.deepEqual(complaints(await look()), []);
});

test('an endpoint for some types alone is told with those of the newest events that it does not send', async () => {
  addEvent('evt_1', 'charge.succeeded');
  addEvent('evt_2', 'invoice.paid');
  stripe.endpoints.splice(0, 1, webhookEndpoint({ enabled_events: ['charge.succeeded', 'charge.failed'] }));
  assert.deepEqual(complaints(await look()), [
    'warning: we_1DaybookFake0001 (hooks.example.com/webhooks/platform) sends 2 types of events alone; of the newest 2 events it does not send invoice.paid',
  ]);
});

test("an endpoint's version beside another of the account is said, and is not a complaint", async () => {
  addEvent('evt_1', 'charge.succeeded', { api_version: '2024-06-20' });
  const found = await look();
  assert.deepEqual(complaints(found), []);
  assert.ok(
    found.some(({ message }) => /pinned to API version 2026-10-28\.endive, the account is at 2024-06-20/.test(message)),
  );
});

test('a key that may not read endpoints is a warning that names the permission', async () => {
  stripe.faults.push(
    deny('/v1/webhook_endpoints', 'rak_webhook_read'),
    deny('/v2/core/event_destinations', 'rak_x_read'),
  );
  assert.deepEqual(complaints(await look()), [
    'warning: the key may not read the webhook endpoints (it lacks rak_webhook_read): their settings are not checked',
  ]);
});

test('thin events, where they are wanted, need a list, and a destination that is enabled', async () => {
  const thin = { source: { thinEvents: true } };
  assert.deepEqual(complaints(await look(thin)), [
    'warning: no event destination sends thin events to /webhooks/platform',
  ]);
  stripe.destinations.push(eventDestination());
  assert.deepEqual(complaints(await look(thin)), []);
  assert.deepEqual(complaints(await look({ hasThinEvents: true })), []);
  stripe.destinations.splice(0, 1, eventDestination({ status: 'disabled' }));
  assert.match(
    complaints(await look(thin))[0]!,
    /^problem: ed_test_61DaybookFake0001 \(.*\) is disabled: no thin event/,
  );
  stripe.faults.push(deny('/v2/core/event_destinations', 'rak_x_read'), deny('/v2/core/events', 'rak_y_read'));
  assert.deepEqual(
    complaints(await look(thin)).map((text) => text.split(':').slice(0, 2).join(':')),
    [
      'problem: Stripe refuses the key the list of thin events (it lacks rak_y_read)',
      'warning: the key may not read the event destinations',
    ],
  );
});

test('an endpoint that gets thin events alone is a warning, with the types of which no snapshot is sent', async () => {
  const types = ['v1.customer.created', 'v1.invoice.paid', 'v1.billing.meter.error_report_triggered'];
  stripe.destinations.push(eventDestination({ enabled_events: types }));
  assert.deepEqual(complaints(await look()), [], 'the snapshots of all are sent');
  stripe.endpoints.splice(0, 1, webhookEndpoint({ enabled_events: ['invoice.*'] }));
  const warned =
    /^warning: ed_test_\S+ \(.*\) sends thin events of customer\.created alone, and no endpoint their snapshots$/;
  assert.match(complaints(await look()).join('\n'), new RegExp(warned.source, 'm'));
  stripe.endpoints.splice(0, 1, webhookEndpoint({ url: 'https://hooks.example.com/webhooks/other' }));
  assert.match(complaints(await look())[0]!, /sends thin events of customer\.created, invoice\.paid alone/);
  stripe.destinations.splice(0, 1, eventDestination());
  assert.match(complaints(await look())[0]!, /sends thin events alone, and no endpoint their snapshots$/);
});

test('a destination for snapshots counts where v1 does not list it, and tells whose events it gets', async () => {
  const all = { event_payload: 'snapshot', enabled_events: ['*'], snapshot_api_version: '2026-10-28.endive' };
  stripe.endpoints.splice(0);
  stripe.destinations.push(eventDestination({ ...all }));
  assert.deepEqual(complaints(await look()), []);
  assert.match(
    complaints(await look({ source: { accounts: ['acct_1One'] } }))[0]!,
    /^warning: .* sends the events of its own account alone/,
  );
  stripe.destinations.splice(0, 1, eventDestination({ ...all, events_from: ['@accounts'] }));
  assert.match(complaints(await look())[0]!, /^warning: .* sends events of connected accounts, too, which no list/);
  assert.deepEqual(complaints(await look({ source: { accounts: ['acct_1One'] } })), []);
});
