/** The table of answers for every scheme that signs the body: the same order, and a code for each. */
import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { contentId } from '../../../shared/schemes/content-id.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';
import {
  cloudEvent,
  envelopes,
  memoryWriter,
  pandaHeaders,
  post,
  serverEvent,
  startIngest,
} from '../ingest-under-test.ts';
import { senders } from './senders.ts';

const writer = memoryWriter();
const sources = [
  { name: 'platform', scheme: 'stripe', secrets: ['whsec_of_stripe'] },
  { name: 'billing', scheme: 'panda', secrets: ['changeme'] },
  ...Object.values(senders).map(({ source }) => source),
];
const ingest = await startIngest({ writer, sources });
after(() => ingest.close());
beforeEach(() => {
  writer.records.length = 0;
});

async function answerOf(path: string, headers: Record<string, string>, body: string | Uint8Array) {
  const { status, json } = await post(`${ingest.url}${path}`, headers, body);
  return [status, json.code ?? 'taken'];
}

const day = 86_400;
const now = () => Math.floor(Date.now() / 1000);
const other = { standard: `whsec_${Buffer.from('another secret of 24 bytes').toString('base64')}` };

for (const [name, { source, sign, signature, timestamp, id }] of Object.entries(senders)) {
  const path = `/webhooks/${name}`;
  const secret = source.scheme === 'standard' ? other.standard : 'another secret';

  test(`${name}: a signed event is answered 200, and its envelope has the evidence`, async () => {
    const body = '{ "type": "invoice.paid", "n": 1.10 }';
    const headers = sign(body);
    const { status, json } = await post(`${ingest.url}${path}`, headers, body);
    assert.deepEqual([status, json], [200, { received: true }]);
    const [{ header, data }] = envelopes(writer) as [ReturnType<typeof envelopes>[0]];
    assert.equal(data, body);
    assert.equal(header.id, id === undefined ? contentId(body) : headers[id]);
    assert.deepEqual(
      [header.source, header.via, header.scheme, header.path, header.keyid, header.time],
      [`/events/${name}`, 'webhook', source.scheme, path, keyidOf(source.secrets[0]), undefined],
    );
    const kept = [id, timestamp, signature].filter((one) => one !== undefined);
    assert.equal(header.signedheaders, kept.map((one) => `${one}: ${headers[one]}`).join('; '));
    const types: Record<string, string> = { github: 'pull_request', shopify: 'orders/create' };
    assert.equal(header.type, types[name] ?? 'invoice.paid');
  });

  test(`${name}: each bad request has the code of the table`, async () => {
    const body = '{"type":"t"}';
    const missing = timestamp === undefined ? 'credentials_missing' : 'credentials_incomplete';
    const without = (header: string) => ({ ...sign(body), [header]: '' });
    const table: [string, Record<string, string>, string | Uint8Array, number, string][] = [
      ['no credentials', { 'content-type': 'application/json' }, body, 401, 'credentials_missing'],
      ['no signature', without(signature), body, 401, missing],
      ['a signature in another form', { ...sign(body), [signature]: 'x' }, body, 403, 'token_malformed'],
      ['another secret', sign(body, { secret }), body, 403, 'token_mismatch'],
      ['a changed body', sign(body), `${body} `, 403, 'token_mismatch'],
      ['another media type', { ...sign(body), 'content-type': 'text/plain' }, body, 415, 'unsupported_media_type'],
      ['a content encoding', { ...sign(body), 'content-encoding': 'gzip' }, body, 415, 'unsupported_content_encoding'],
      ['what is not JSON', sign('{"type":'), '{"type":', 400, 'body_malformed'],
      ['an array', sign('[{"type":"t"}]'), '[{"type":"t"}]', 400, 'body_malformed'],
      ['a text', sign('"t"'), '"t"', 400, 'body_malformed'],
      ['nothing', sign(''), '', 400, 'body_malformed'],
      ['a byte order mark', sign(`\ufeff${body}`), `\ufeff${body}`, 400, 'body_malformed'],
      ['what is not UTF-8', sign(Buffer.from([0x7b, 0xff])), Buffer.from([0x7b, 0xff]), 400, 'body_malformed'],
    ];
    if (timestamp !== undefined) {
      table.push(
        ['no time', without(timestamp), body, 401, 'credentials_incomplete'],
        ['a time in another form', { ...sign(body), [timestamp]: 'soon' }, body, 403, 'date_malformed'],
        ['an old time', sign(body, { atSeconds: now() - 302 }), body, 403, 'date_stale'],
        ['a time ahead', sign(body, { atSeconds: now() + 302 }), body, 403, 'date_in_future'],
      );
    }
    if (id !== undefined) {
      table.push(
        ['no id', without(id), body, 401, 'credentials_incomplete'],
        ['an id with a space', sign(body, { id: 'a b' }), body, 403, 'token_malformed'],
      );
    }
    for (const [changes, status, code] of [
      [{ id: 'x'.repeat(256) }, 400, 'event_invalid'],
      [{ id: 'a\u0085' }, 400, 'event_invalid'],
      [{ time: 'yesterday' }, 400, 'event_invalid'],
      [{ time: new Date((now() + 302) * 1000).toISOString() }, 422, 'time_out_of_range'],
      [{ time: new Date((now() - 31 * day) * 1000).toISOString() }, 422, 'time_out_of_range'],
    ] as const) {
      const text = JSON.stringify(cloudEvent(changes));
      table.push([`a CloudEvent with ${JSON.stringify(changes)}`, sign(text), text, status, code]);
    }
    for (const [what, headers, bytes, status, code] of table) {
      assert.deepEqual(await answerOf(path, headers, bytes), [status, code], what);
    }
    const large = `{"type":"${'x'.repeat(1_048_576)}"}`;
    assert.deepEqual(await answerOf(path, sign(large), large), [413, 'body_too_large']);
    assert.equal(writer.records.length, 0);
  });

  test(`${name}: a refusal says how to sign, and never what was expected`, async () => {
    const { json } = await post(`${ingest.url}${path}`, sign('{}', { secret }), '{}');
    assert.match(`${json.hint}`, /HMAC/);
    const right = sign('{}')[signature]!;
    assert.ok(!JSON.stringify([json, ingest.log]).includes(right.slice(-40)));
    assert.ok(!JSON.stringify([json, ingest.log]).includes(source.secrets[0]));
  });

  test(`${name}: at another source's route, and at another scheme's, it is refused`, async () => {
    const codes = [];
    for (const { source: there } of Object.values(senders)) {
      if (there.scheme === source.scheme) continue;
      codes.push((await answerOf(`/webhooks/${there.name}`, sign('{}'), '{}'))[1]);
    }
    codes.push((await answerOf('/webhooks/platform', sign('{}'), '{}'))[1]);
    assert.deepEqual(new Set(codes), new Set(['credentials_missing', 'signature_missing']));
    assert.deepEqual(await answerOf('/webhooks/billing', sign('{}'), '{}'), [404, 'unknown_source']);
  });
}

test('a CloudEvent keeps id, type, subject and time, whoever signs it', async () => {
  const time = new Date().toISOString();
  const body = JSON.stringify(cloudEvent({ subject: 'in_1', time }));
  for (const [name, { sign }] of Object.entries(senders)) {
    assert.deepEqual(await answerOf(`/webhooks/${name}`, sign(body), body), [200, 'taken']);
    const { header } = envelopes(writer).at(-1)!;
    assert.deepEqual([header.id, header.type, header.subject, header.time], ['ce-1', 'invoice.sent', 'in_1', time]);
  }
});

test("Slack's url_verification is answered with its challenge, and kept like any event; another body's is not", async () => {
  const { sign } = senders.slack!;
  const challenge = '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P';
  const verification = JSON.stringify({ token: 'x', challenge, type: 'url_verification' });
  const { status, json } = await post(`${ingest.url}/webhooks/slack`, sign(verification), verification);
  assert.deepEqual([status, json], [200, { received: true, challenge }]);
  assert.equal(envelopes(writer)[0]!.header.type, 'url_verification');
  const forged = sign(verification, { secret: 'another' });
  assert.deepEqual(await answerOf('/webhooks/slack', forged, verification), [403, 'token_mismatch']);
  for (const body of [
    { challenge, type: 'other' },
    { challenge: 7, type: 'url_verification' },
  ]) {
    const text = JSON.stringify(body);
    assert.deepEqual((await post(`${ingest.url}/webhooks/slack`, sign(text), text)).json, { received: true });
  }
  const github = senders.github!.sign(verification);
  assert.deepEqual((await post(`${ingest.url}/webhooks/github`, github, verification)).json, { received: true });
});

test('at /events Standard Webhooks brings one event: its keys are tried in order, and webhook-id is the id', async () => {
  const event = JSON.stringify(serverEvent());
  for (const name of ['standard', 'svix']) {
    const headers = senders[name]!.sign(event, { id: `msg_${name}` });
    const { status, json } = await post(`${ingest.url}/events`, headers, event);
    assert.deepEqual([status, json], [201, { status: 'ok', accepted: 1 }]);
  }
  const ce = JSON.stringify(cloudEvent());
  const headers = { ...senders.standard!.sign(ce), 'content-type': 'application/cloudevents+json' };
  assert.deepEqual(await answerOf('/event', headers, ce), [201, 'taken']);
  assert.deepEqual(
    envelopes(writer).map(({ header }) => [header.source, header.id, header.scheme, header.via]),
    [
      ['/events/standard', 'msg_standard', 'standard', 'events'],
      // Both sources have this key: the first in DAYBOOK_SOURCES is whose event it is.
      ['/events/standard', 'msg_svix', 'standard', 'events'],
      ['/events/standard', 'ce-1', 'standard', 'events'],
    ],
  );
  writer.records.length = 0;
  const { sign } = senders.standard!;
  const batch = `[${event}]`;
  const noEvent = '{"type":"t"}';
  for (const [what, given, body, answer] of [
    ['an array', sign(batch), batch, [400, 'body_malformed']],
    ['what is not an event', sign(noEvent), noEvent, [400, 'event_invalid']],
    ['another secret', sign(event, { secret: other.standard }), event, [403, 'token_mismatch']],
    ['an old time', sign(event, { atSeconds: now() - 302 }), event, [403, 'date_stale']],
    ['no id', { ...sign(event), 'webhook-id': '' }, event, [401, 'credentials_incomplete']],
    ['the signature of GitHub', senders.github!.sign(event), event, [401, 'credentials_missing']],
  ] as const) {
    assert.deepEqual(await answerOf('/events', given, body), answer, what);
  }
  assert.equal(writer.records.length, 0);
});

test('beside a panda token webhook-id is not signed, and not the id', async () => {
  const event = JSON.stringify(serverEvent());
  const headers = { ...pandaHeaders(), 'webhook-id': 'mine' };
  assert.deepEqual(await answerOf('/events', headers, event), [201, 'taken']);
  assert.equal(envelopes(writer)[0]!.header.id, contentId(event));
});
