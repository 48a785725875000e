/** What doctor says of a captured request of a page. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCapture } from '../../../ingest/doctor/captured-request.ts';
import { requestChecks } from '../../../ingest/doctor/explain-request.ts';
import { findAll } from '../../../shared/doctor/finding.ts';
import { secretsOf, sourcesSchema } from '../../../shared/schemes/sources.ts';
import { serverEvent } from '../ingest-under-test.ts';
import { cookieName, cookieOf, cookieSource, newIssuer, origin, payloadOf } from '../login-cookie.ts';

const issuer = newIssuer();
const other = newIssuer();
const taking = [cookieSource(other, { name: 'others', cookie: 'otherAuth' }), cookieSource(issuer)];

async function explain(headers: Record<string, string>, given: readonly unknown[] = taking) {
  const head = Object.entries({ 'content-type': 'application/json', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const request = parseCapture(
    Buffer.from(`POST /events HTTP/1.1\r\n${head.join('')}\r\n${JSON.stringify(serverEvent())}`),
  );
  const sources = sourcesSchema.parse(given).map((source) => ({ source, secrets: secretsOf(source, '', {}, []) }));
  const findings = await findAll(requestChecks({ request, sources, maxBodyBytes: 1e6, nowMs: Date.now() }));
  return findings
    .filter(({ check }) => check === 'signature')
    .map(({ status, code = '', message }) => `${status} ${code} ${message}`.replace(/keyid [0-9a-f]{16}/, 'keyid …'));
}

test('of a cookie that holds by which key, and of any other why each source refuses it', async () => {
  const cookie = (value: string) => ({ origin, cookie: `${cookieName}=${value}` });
  const lacking = 'problem no_cookie others: No login cookie';
  assert.deepEqual(await explain(cookie(cookieOf(issuer))), ['ok  the cookie holds, by a key of pages (keyid …)']);
  assert.deepEqual(await explain(cookie(cookieOf(other))), [
    lacking,
    'problem invalid_cookie pages: None of the public keys made its signature.',
  ]);
  assert.deepEqual(await explain(cookie(cookieOf(issuer, payloadOf({ email: 'a@b.test' })))), [
    lacking,
    'problem invalid_user pages: The address is not of a domain that is taken.',
  ]);
  assert.deepEqual(await explain({ origin }), [lacking, 'problem no_cookie pages: No login cookie']);
  assert.deepEqual(await explain({ ...cookie(cookieOf(issuer)), origin: 'https://evil.net' }), [
    'problem origin_refused others: Origin refused',
    'problem origin_refused pages: Origin refused',
  ]);
  const panda = { name: 'billing', scheme: 'panda', secrets: ['changeme'] };
  assert.deepEqual(await explain(cookie('x'), [panda]), [
    'problem credentials_missing the request has a cookie alone, and no source takes login cookies',
  ]);
});
