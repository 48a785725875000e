import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { type Auth, cookie, panda, standardWebhooks } from '../../../ingest/client/client.ts';
import { verifyPandaDelivery } from '../../../shared/schemes/panda.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';

const sign = (auth: Auth, changes: Partial<Parameters<Auth['sign']>[0]> = {}) =>
  auth.sign({ url: new URL('https://ingest.test/event'), id: 'msg_1', body: '{}', nowMs: 0, ...changes });

test('panda signs as the published vectors have it: the date and the path, without host and query', async () => {
  const nowMs = Date.parse('2023-05-16T10:36:38Z');
  for (const [secret, path, token] of [
    ['changeme', '/example/path', 'UbTSeObvzrH6xb2oIcn0yAoCQY5ErNSddMDk8rsp/Bs='],
    ['changeme', '/event', 'jKYKl/BNhd/l1Erpps6kL7kQIq3mGgztNQhbHaq0XP8='],
    ['updated', '/event', 'm+LeUv0AH9d67Je4dmVXpGKcZ29/6unB9OTqa6WQcfA='],
  ] as const) {
    const headers = await sign(panda({ secret }), { url: new URL(`https://a.test:8080${path}?q=1`), nowMs });
    assert.deepEqual(headers, {
      'x-gu-tools-hmac-date': 'Tue, 16 May 2023 10:36:38 GMT',
      'x-gu-tools-hmac-token': `HMAC ${token}`,
    });
  }
});

test('what panda signs is verified by ingest, whatever the secret and the path', async () => {
  const nowMs = Date.parse('2026-11-20T12:00:00Z');
  for (const secret of ['x', 'schlüssel €', 'a'.repeat(300)]) {
    const url = new URL('https://ingest.test/päth/%20events');
    const headers = await sign(panda({ secret, service: 'billing' }), { url, nowMs });
    assert.equal(headers['x-gu-tools-service-name'], 'billing');
    const result = verifyPandaDelivery(
      { token: headers['x-gu-tools-hmac-token'], date: headers['x-gu-tools-hmac-date'], path: url.pathname },
      [{ text: secret, keyid: keyidOf(secret), notAfterMs: undefined }],
      nowMs,
    );
    assert.ok('secret' in result);
  }
});

test('standardWebhooks signs as the published vector has it, with whsec_ before the secret or without', async () => {
  for (const secret of ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']) {
    const body = '{"test": 2432232314}';
    const attempt = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', body, nowMs: 1614265330_999 };
    assert.deepEqual(await sign(standardWebhooks({ secret }), attempt), {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  }
  assert.throws(() => standardWebhooks({ secret: 'whsec_not base64!' }));
});

test('standardWebhooks signs the bytes of UTF-8', async () => {
  const secret = Buffer.from('key of 24 bytes or more…').toString('base64');
  const headers = await sign(standardWebhooks({ secret }), { id: 'i', body: '{"name":"Zoë €"}' });
  const expected = createHmac('sha256', Buffer.from(secret, 'base64')).update('i.0.{"name":"Zoë €"}').digest('base64');
  assert.equal(headers['webhook-signature'], `v1,${expected}`);
});

test('cookie adds nothing and lets the browser add its cookies', async () => {
  assert.deepEqual(await sign(cookie()), {});
  assert.equal(cookie().credentials, 'include');
});
