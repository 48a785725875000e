/** A bucket as doctor sees it, on a real server (test/services/s3.sh), with refusals as Amazon S3 words them. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { readSettings } from '../../../shared/config.ts';
import type { Found } from '../../../shared/doctor/finding.ts';
import { checkStore, openStore } from '../../../shared/store/open.ts';
import type { S3Params } from '../../../shared/store/s3/settings.ts';
import { type HttpProxy, type ProxyRequest, startHttpProxy } from '../../faults/http-proxy.ts';
import { createBucket } from '../../services/s3-buckets.ts';
import { startService } from '../../services/service.ts';
import { complaints as complaintsOf, openPatient } from './doctor-under-test.ts';

const checkS3 = (params: S3Params) => checkStore({ type: 's3', params }, '');

const service = await startService<{ endpoint: string }>('s3.sh');

if (service !== undefined) {
  const { endpoint } = service.facts;
  const proxy: HttpProxy = await startHttpProxy(endpoint);
  after(async () => {
    await proxy.close();
    await service.stop();
  });

  const xml = (code: string, more = '') =>
    `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message>${more}</Error>`;
  const refuse = (status: number, code: string, isMeant: (request: ProxyRequest) => boolean = () => true) =>
    proxy.decide(async (request, forward) =>
      isMeant(request) ? { status, headers: { 'content-type': 'application/xml' }, body: xml(code) } : forward(),
    );
  const complaints = (found: readonly Found[]) =>
    found.filter(({ status }) => status !== 'ok').map(({ code, message, hint }) => ({ code, message, hint }));

  const bucket = async (): Promise<S3Params> => ({
    ...(await createBucket(endpoint)),
    prefix: 'archive',
    endpoint: proxy.endpoint,
  });

  test('a bucket with all permissions is sound, and only the probe object is written', async () => {
    proxy.decide();
    const params = await bucket();
    const found = await checkS3(params);
    assert.deepEqual(complaints(found), []);
    const said = found.map(({ message }) => message);
    assert.match(said[0]!, /can be listed, written and read, and no object in it can be written over$/);
    assert.deepEqual(said[1], "this machine's clock agrees with the object store's");
    const written = proxy.requests.filter(({ method }) => method !== 'GET' && method !== 'HEAD');
    assert.ok(written.length > 0);
    assert.ok(written.every(({ path }) => path.startsWith(`/${params.bucket}/archive/.create-only`)));
  });

  for (const [permission, isMeant] of [
    ['s3:ListBucket', ({ method, path }) => method === 'GET' && path.includes('list-type=2')],
    ['s3:PutObject', ({ method, path }) => method === 'PUT' && !path.includes('uploadId')],
    ['s3:GetObject', ({ method, path }) => method === 'GET' && path.includes('.create-only')],
    ['s3:AbortMultipartUpload', ({ method }) => method === 'DELETE'],
  ] as const satisfies readonly (readonly [string, (request: ProxyRequest) => boolean])[]) {
    test(`${permission} that is missing is named, and is the only complaint`, async () => {
      const params = await bucket();
      proxy.decide();
      await checkS3(params);
      refuse(403, 'AccessDenied', isMeant);
      const [found, ...more] = complaints(await checkS3(params));
      assert.deepEqual([found!.code, more], ['store_permission_denied', []]);
      assert.match(found!.message, /^a night may not .*AccessDenied, HTTP 403/);
      assert.match(found!.hint, new RegExp(`^Allow the credentials ${permission} on `));
    });
  }

  test('what every request would meet is one complaint', async () => {
    const params = await bucket();
    for (const [status, name, code] of [
      [404, 'NoSuchBucket', 'store_bucket_missing'],
      [301, 'PermanentRedirect', 'store_region_wrong'],
      [403, 'RequestTimeTooSkewed', 'store_clock_skewed'],
      [403, 'InvalidAccessKeyId', 'store_credentials_refused'],
    ] as const) {
      refuse(status, name);
      assert.deepEqual(
        complaints(await checkS3(params)).map((found) => found.code),
        [code],
        name,
      );
    }
  });

  test('a server that writes over objects is told', async () => {
    const params = await bucket();
    proxy.decide(async ({ method, path }, forward) =>
      method === 'PUT' && !path.includes('uploadId') ? { status: 200, headers: { etag: '"x"' } } : forward(),
    );
    assert.deepEqual(
      complaints(await checkS3(params)).map(({ code }) => code),
      ['store_not_create_only'],
    );
  });

  const blocked = (on: boolean) =>
    `<?xml version="1.0"?><PublicAccessBlockConfiguration>${[
      'BlockPublicAcls',
      'IgnorePublicAcls',
      'BlockPublicPolicy',
      'RestrictPublicBuckets',
    ]
      .map((name, index) => `<${name}>${on || index > 0}</${name}>`)
      .join('')}</PublicAccessBlockConfiguration>`;
  const isPublic = '<?xml version="1.0"?><PolicyStatus><IsPublic>true</IsPublic></PolicyStatus>';
  for (const [what, policy, block, status, message] of [
    [
      'blocked',
      [404, xml('NoSuchBucketPolicy')],
      [200, blocked(true)],
      'ok',
      /^public access to the bucket is blocked$/,
    ],
    [
      'half blocked',
      [404, xml('NoSuchBucketPolicy')],
      [200, blocked(false)],
      'warning',
      /nothing keeps it from becoming so/,
    ],
    [
      'not blocked',
      [404, xml('NoSuchBucketPolicy')],
      [404, xml('NoSuchPublicAccessBlockConfiguration')],
      'warning',
      /nothing keeps/,
    ],
    [
      'public',
      [200, isPublic],
      [404, xml('NoSuchPublicAccessBlockConfiguration')],
      'problem',
      /is public by its policy/,
    ],
    [
      'not to be asked',
      [403, xml('AccessDenied')],
      [403, xml('AccessDenied')],
      'ok',
      /s3:GetBucketPublicAccessBlock is not allowed/,
    ],
    [
      'unknown to the server',
      [501, xml('NotImplemented')],
      [405, xml('MethodNotAllowed')],
      'ok',
      /this server does not tell/,
    ],
  ] as const) {
    test(`public access that is ${what} is told as that`, async () => {
      const params = await bucket();
      const headers = { 'content-type': 'application/xml' };
      proxy.decide(async ({ path }, forward) => {
        const given = path.includes('policyStatus') ? policy : path.includes('publicAccessBlock') ? block : undefined;
        return given === undefined ? forward() : { status: given[0], headers, body: given[1] };
      });
      const found = (await checkS3(params)).find(({ message: said }) => message.test(said));
      assert.deepEqual([found?.status, found?.code], [status, status === 'ok' ? undefined : 'store_public']);
    });
  }

  test('a bucket that a setting asks for is made before the first write, by several at once too, and never on AWS', async () => {
    proxy.decide();
    const { bucket: _, ...params } = await bucket();
    const configured = {
      type: 's3',
      params: { ...params, bucket: `daybook-made-${Date.now()}`, createBucket: true },
    } as const;
    const opened = await Promise.all([1, 2, 3].map(() => openStore(configured, '', { willCreate: true })));
    for (const { store } of opened) await store.close();
    assert.deepEqual(complaints(await checkStore(configured, '')), []);
    const text = JSON.stringify({ type: 's3', params: { bucket: 'abc', createBucket: true } });
    assert.throws(() => readSettings({ DAYBOOK_STORE: text }, ['DAYBOOK_STORE']), {
      message: /DAYBOOK_STORE\.params\.createBucket: goes with an endpoint/,
    });
  });

  test('a clock that is off is told by how much', async () => {
    const params = await bucket();
    const date = new Date(Date.now() + 60_000).toUTCString();
    proxy.decide(async (_request, forward) => {
      const answer = await forward();
      return { ...answer, headers: { ...answer.headers, date } };
    });
    assert.match(complaints(await checkS3(params))[0]!.message, /clock is (59|60|61) s behind the object store's/);
  });

  test('the program with a bucket that is not there: one problem of the store, one of the ledger, no credentials', async () => {
    proxy.decide();
    const patient = await openPatient();
    const params = { ...(await bucket()), bucket: 'daybook-nowhere' };
    const aws = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'testsecret' };
    const { code, stdout, findings } = await patient.doctor({
      ...aws,
      DAYBOOK_STORE: JSON.stringify({ type: 's3', params }),
    });
    await patient.close();
    const problems = findings.filter(({ status }) => status === 'problem');
    assert.deepEqual(
      problems.map(({ check, code: of }) => [check, of]),
      [
        ['store', 'store_bucket_missing'],
        ['ledger', 'store_bucket_missing'],
      ],
    );
    assert.equal(problems[1]!.message, 'the ledger cannot be read');
    assert.equal(code, 2);
    assert.doesNotMatch(stdout, /testsecret/);
    assert.equal(complaintsOf(findings).length, 2);
  });
}
