import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainSignature } from '../../../ingest/doctor/explain-signature.ts';
import { eventsProtocol } from '../../../ingest/schemes/events.ts';
import type { ResolvedSource } from '../../../ingest/schemes/resolved-source.ts';
import { webhookProtocol } from '../../../ingest/schemes/webhook.ts';
import { contentId } from '../../../shared/schemes/content-id.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';
import { bodyScheme, signBody } from './body-scheme.ts';

const text = 'a secret of sixteen characters';
const secret = { text, keyid: keyidOf(text), notAfterMs: undefined };
/** Of a scheme that is not in the table: whatever asks the table for it would fail. */
const source = { source: { name: 'hooks', scheme: 'body', secrets: [text] }, secrets: [secret] };
const resolved = source as unknown as ResolvedSource;
const protocol = webhookProtocol(resolved, bodyScheme);
const receivedAtMs = Date.parse('2026-11-20T12:00:00Z');
const named: { id: string; type: string }[] = [];

function requestOf(json: string, signature: string | undefined = signBody(text, Buffer.from(json))) {
  const headers = signature === '' ? {} : { 'x-body-signature': signature };
  return { headers, path: '/webhooks/hooks', body: Buffer.from(json), receivedAtMs };
}

test('a body that the scheme proves is one event, known by its content, and its evidence holds', () => {
  const request = requestOf('{"action":"opened","n":1.10}');
  const proof = protocol.verify(request);
  assert.deepEqual(
    [proof.sourceName, proof.scheme, proof.keyid, protocol.kind, protocol.via],
    ['hooks', 'body', secret.keyid, 'events', 'webhook'],
  );
  const [event] = protocol.parse(request, (first) => named.push(first))!;
  const id = contentId('{"n":1.10,"action":"opened"}');
  assert.equal(event!.id, id);
  assert.equal(event!.type, 'opened');
  assert.deepEqual(event!.data, request.body);
  assert.equal(named[0]!.id, id);

  const [name, value] = proof.signedheaders.split(': ');
  const evidence = { headers: { [name!]: value }, path: request.path, body: request.body };
  assert.equal(bodyScheme.holds({ ...evidence, id }, [secret]), true);
  assert.equal(bodyScheme.holds({ ...evidence, id: 'another' }, [secret]), false);
  assert.equal(bodyScheme.holds({ ...evidence, id, body: Buffer.from('{}') }, [secret]), false);
});

test('what a scheme refuses has the code of the table of answers, and the hint of the scheme', () => {
  const { howToSign: hint } = bodyScheme;
  assert.throws(() => protocol.verify(requestOf('{}', '')), { code: 'credentials_missing', hint });
  assert.throws(() => protocol.verify(requestOf('{}', 'sha256=0')), { code: 'token_mismatch', hint });
  const parse = (json: string) => protocol.parse(requestOf(json), () => {});
  assert.throws(() => parse('[]'), { code: 'body_malformed' });
  assert.throws(() => parse('{'), { code: 'body_malformed' });
  assert.throws(() => parse('{"action":1}'), { code: 'event_invalid' });
});

test('a source of another scheme is not a caller of /events: nothing of it is tried there', () => {
  const date = 'Tue, 15 Nov 1994 08:12:00 GMT';
  const headers = { 'x-gu-tools-hmac-token': `HMAC ${'A'.repeat(43)}=`, 'x-gu-tools-hmac-date': date };
  const events = eventsProtocol([resolved]);
  const request = { ...requestOf('{}'), headers, path: '/events' };
  assert.throws(() => events.verify(request), { code: 'token_mismatch' });
  const named = { ...headers, 'x-gu-tools-service-name': 'hooks' };
  assert.throws(() => events.verify({ ...request, headers: named }), { code: 'service_unknown' });
});

test('doctor explains a scheme that it knows nothing more of', () => {
  const explain = (given: ReturnType<typeof requestOf>, sources = [resolved]) => {
    const request = { ...given, method: 'POST', target: given.path };
    return explainSignature({ request, source: resolved, sources, nowMs: receivedAtMs }, bodyScheme)[0]!;
  };
  assert.match(explain(requestOf('{}')).message, /the signature holds, by secrets\[0\] of hooks/);
  assert.equal(explain(requestOf('{}', '')).code, 'credentials_missing');
  assert.match(explain(requestOf('{} \n', signBody(text, Buffer.from('{} ')))).message, /given a line feed at its end/);
  assert.equal(explain(requestOf('{}', 'sha256=0')).code, 'token_mismatch');
  const others = { source: { ...source.source, name: 'others' }, secrets: [{ ...secret, text: 'other', keyid: 'k' }] };
  const found = explain(requestOf('{}', signBody('other', Buffer.from('{}'))), [resolved, others as never]);
  assert.match(found.message, /by secrets\[0\] of others .* not by one of this source/);
});
