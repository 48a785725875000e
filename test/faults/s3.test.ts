/**
 * Every request of a create fails before its effect and after it, once and for good, in front of a real S3 server; so do
 * the answers that S3 gives and its simulators do not: 409, 200 with an error in the body, errors of set-up.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { DaybookError, type ErrorCode } from '../../shared/errors.ts';
import { openS3Store } from '../../shared/store/s3/store.ts';
import { bodyOf, type ObjectStore, readWhole } from '../../shared/store/store.ts';
import { keysOf } from '../contract/object-store.ts';
import { startService } from '../services/service.ts';
import { type ProxyAnswer, type ProxyHandler, type ProxyRequest, startHttpProxy } from './http-proxy.ts';

process.env.AWS_ACCESS_KEY_ID = 'test';
process.env.AWS_SECRET_ACCESS_KEY = 'testsecret';
const service = await startService<{ endpoint: string }>('s3.sh');
const key = 'platform/part.age';
const short = bodyOf(randomBytes(1_000));
const long = bodyOf(randomBytes(8 * 1024 * 1024 + 1));

/** The requests that a create makes, by what they do. */
const steps = {
  put: ({ method, path }: ProxyRequest) => method === 'PUT' && path.includes(key) && !path.includes('uploadId'),
  begin: ({ method, path }: ProxyRequest) => method === 'POST' && path.includes(key) && /[?&]uploads/.test(path),
  part: ({ method, path }: ProxyRequest) => method === 'PUT' && path.includes(key) && path.includes('partNumber=2'),
  complete: ({ method, path }: ProxyRequest) => method === 'POST' && path.includes(key) && path.includes('uploadId'),
};
type Step = keyof typeof steps;

const xmlError = (status: number, code: string, more = ''): ProxyAnswer => ({
  status,
  headers: { 'content-type': 'application/xml' },
  body: `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>injected</Message>${more}</Error>`,
});

/** The same once the request has taken effect. */
const afterwards =
  (answer: Awaited<ReturnType<ProxyHandler>>): ProxyHandler =>
  async (_request, forward) => {
    await forward();
    return answer;
  };

const faults: Readonly<Record<string, ProxyHandler>> = {
  'reset before': async () => 'reset',
  'reset after': afterwards('reset'),
  'hang after': afterwards('hang'),
  'a cut answer after': afterwards('cut'),
  '500 before': async () => xmlError(500, 'InternalError'),
  '500 after': afterwards(xmlError(500, 'InternalError')),
  '200 with an error before': async () => xmlError(200, 'InternalError'),
  '200 with an error after': afterwards(xmlError(200, 'InternalError')),
};

if (service !== undefined) {
  const proxy = await startHttpProxy(service.facts.endpoint);
  const client = new S3Client({ endpoint: service.facts.endpoint, region: 'us-east-1', forcePathStyle: true });
  const opened: ObjectStore[] = [];
  after(async () => {
    client.destroy();
    for (const store of opened) await store.close();
    await proxy.close();
    await service.stop();
  });

  const openBucket = (bucket: string) => {
    const params = { bucket, endpoint: proxy.endpoint, region: 'us-east-1', forcePathStyle: true };
    const store = openS3Store(params, '', { connectMs: 1_000, idleMs: 300 });
    opened.push(store);
    return store;
  };
  const newStore = async () => {
    proxy.decide();
    const bucket = `daybook-${randomBytes(6).toString('hex')}`;
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    return { bucket, store: openBucket(bucket) };
  };
  /** The fault for the first `times` requests of that step; gives how many there were. */
  const failAt = (step: Step, fault: ProxyHandler, times: number) => {
    const seen = { count: 0 };
    proxy.decide((request, forward) => {
      if (!steps[step](request)) return forward();
      seen.count += 1;
      return seen.count <= times ? fault(request, forward) : forward();
    });
    return seen;
  };

  for (const step of ['put', 'begin', 'part', 'complete'] as const) {
    const body = step === 'put' ? short : long;
    for (const [name, fault] of Object.entries(faults)) {
      // The answer to a part has no body that could be cut; only an upload's completion is answered while it goes on.
      if ((name.includes('cut') && body === short) || (name.includes('200') && step !== 'complete')) continue;
      if (name.includes('cut') && step === 'part') continue;
      test(`a create whose ${step} fails once by ${name} is created all the same, whole and once`, async () => {
        const { store } = await newStore();
        const seen = failAt(step, fault, 1);
        const outcome = await store.create(key, body).catch((error: unknown) => error);
        assert.ok(seen.count >= 1, 'the fault was met');
        proxy.decide();
        assert.equal(outcome, 'created');
        assert.ok((await readWhole(store, key)).equals(await bytesOf(body)));
        assert.equal(await store.create(key, body), 'exists');
        assert.deepEqual(await keysOf(store, ''), [key]);
      });
    }
    for (const name of ['reset before', 'reset after', '500 before', '500 after'] as const) {
      test(`a create whose ${step} fails for good by ${name} tells the truth, and a repeat ends whole`, async () => {
        const { store } = await newStore();
        failAt(step, faults[name]!, Number.POSITIVE_INFINITY);
        const outcome = await store.create(key, body).catch((error: unknown) => error);
        proxy.decide();
        const took = name.endsWith('after') && (step === 'put' || step === 'complete');
        if (took) assert.equal(outcome, 'created');
        else {
          assert.ok(outcome instanceof DaybookError);
          assert.deepEqual([outcome.code, outcome.retry], ['store_unavailable', true]);
          assert.equal(await store.head(key), undefined);
        }
        assert.equal(await store.create(key, body), took ? 'exists' : 'created');
        assert.ok((await readWhole(store, key)).equals(await bytesOf(body)));
      });
    }
  }

  for (const [step, body] of [
    ['put', short],
    ['complete', long],
  ] as const) {
    for (const code of ['ConditionalRequestConflict', 'OperationAborted']) {
      test(`a ${step} that the server asks to come again (409 ${code}) is made again`, async () => {
        const { store } = await newStore();
        failAt(step, async () => xmlError(409, code), 2);
        assert.equal(await store.create(key, body), 'created');
        assert.ok((await readWhole(store, key)).equals(await bytesOf(body)));
      });
    }

    test(`a create that loses its ${step} to another one, after an answer got lost, answers exists`, async () => {
      const { bucket, store } = await newStore();
      const rival = openBucket(bucket);
      const winner = bodyOf(Buffer.from('the winner'));
      let met = false;
      proxy.decide(async (request, forward) => {
        if (met || !steps[step](request)) return forward();
        met = true;
        assert.equal(await rival.create(key, winner), 'created');
        return 'reset';
      });
      assert.equal(await store.create(key, body), 'exists');
      assert.equal(String(await readWhole(store, key)), 'the winner');
    });
  }

  test('a complete whose answer got lost, and whose repeat finds its upload no more, is created', async () => {
    const { store } = await newStore();
    let calls = 0;
    proxy.decide(async (request, forward) => {
      if (!steps.complete(request)) return forward();
      calls += 1;
      if (calls > 1) return xmlError(404, 'NoSuchUpload');
      await forward();
      return 'reset';
    });
    assert.equal(await store.create(key, long), 'created');
    assert.equal(calls >= 2, true);
  });

  test('a 409 without end is said, to be tried again later', async () => {
    const { store } = await newStore();
    const seen = failAt('put', async () => xmlError(409, 'ConditionalRequestConflict'), Number.POSITIVE_INFINITY);
    await assert.rejects(store.create(key, short), { code: 'store_unavailable', retry: true });
    assert.equal(seen.count, 7);
    proxy.decide();
    assert.deepEqual(await keysOf(store, ''), []);
  });

  for (const [step, body] of [
    ['put', short],
    ['complete', long],
  ] as const) {
    for (const fault of ['before', 'after'] as const) {
      test(`a ${step} answered 200 with words that name no object, ${fault} its effect, is not a success by itself`, async () => {
        const { store } = await newStore();
        const answer = { status: 200, body: '<Error><Code>InternalError</Code></Error>\n' };
        failAt(step, fault === 'before' ? async () => answer : afterwards(answer), 1);
        const outcome = await store.create(key, body).catch((error: unknown) => error);
        if (fault === 'after') assert.equal(outcome, 'created');
        else {
          assert.ok(outcome instanceof DaybookError);
          assert.deepEqual([outcome.code, outcome.retry], ['store_unavailable', true]);
        }
        assert.equal(await store.create(key, body), fault === 'after' ? 'exists' : 'created');
      });
    }
  }

  test('a store that answers nothing but errors leaves a create undecided, and says so', async () => {
    const { store } = await newStore();
    await store.probe();
    proxy.decide(async (request, forward) => {
      if (steps.put(request)) await forward();
      return 'reset';
    });
    await assert.rejects(store.create(key, short), { code: 'store_unavailable', retry: true });
    proxy.decide();
    assert.equal(await store.create(key, short), 'exists');
  });

  test('a read whose connection breaks half-way fails, and gives no bytes that are not there', async () => {
    const { store } = await newStore();
    await store.create(key, long);
    proxy.decide(async ({ method }, forward) => {
      const answer = await forward();
      return method === 'GET' ? 'cut' : answer;
    });
    await assert.rejects(readWhole(store, key), { code: 'store_unavailable', retry: true });
    proxy.decide(async () => 'hang');
    await assert.rejects(store.head(key), { code: 'store_unavailable', retry: true });
    await assert.rejects(keysOf(store, ''), { code: 'store_unavailable', retry: true });
  });

  test('an endpoint without conditional writes is refused before anything is created', async () => {
    const okay: ProxyAnswer = { status: 200, headers: { etag: '"e"' } };
    const completed: ProxyAnswer = {
      status: 200,
      body: '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>',
    };
    const endpoints: Readonly<Record<string, ProxyHandler>> = {
      'writes over objects': async ({ method, path }, forward) => {
        const answer = await forward();
        return method === 'PUT' && !path.includes('uploadId') && answer.status === 412 ? okay : answer;
      },
      'keeps them from PutObject alone': async ({ method }, forward) => {
        const answer = await forward();
        return method === 'POST' && answer.status === 412 ? completed : answer;
      },
      'refuses the header': async ({ headers }, forward) =>
        headers['if-none-match'] === undefined ? forward() : xmlError(501, 'NotImplemented'),
    };
    for (const [name, handler] of Object.entries(endpoints)) {
      const { store } = await newStore();
      proxy.decide(handler);
      const from = proxy.requests.length;
      await assert.rejects(store.create(key, short), { code: 'store_not_create_only', retry: false }, name);
      await assert.rejects(store.probe(), { code: 'store_not_create_only', hint: /If-None-Match/ }, name);
      const sent = proxy.requests.slice(from);
      assert.ok(sent.length > 0 && sent.every(({ path }) => path.includes('.create-only')), name);
    }
  });

  test('the probe writes one small object, once, which is not a key and is not listed', async () => {
    const { bucket, store } = await newStore();
    await store.probe();
    await store.create(key, short);
    const again = openBucket(bucket);
    await Promise.all([again.probe(), openBucket(bucket).probe()]);
    assert.deepEqual(await keysOf(again, ''), [key]);
    await assert.rejects(again.head('.create-only'), { code: 'object_key_invalid' });
    await assert.rejects(again.create('.create-only', short), { code: 'object_key_invalid' });
  });

  const region = '<Region>eu-west-1</Region>';
  const secrets =
    '<AWSAccessKeyId>AKIATEST</AWSAccessKeyId><StringToSign>string-to-sign</StringToSign><SignatureProvided>given-signature</SignatureProvided><CanonicalRequest>canonical</CanonicalRequest>';
  const answers: readonly [ProxyAnswer, ErrorCode, boolean, RegExp][] = [
    [xmlError(404, 'NoSuchBucket'), 'store_bucket_missing', false, /NoSuchBucket/],
    [xmlError(403, 'AccessDenied'), 'store_permission_denied', false, /AccessDenied, HTTP 403/],
    [xmlError(301, 'PermanentRedirect'), 'store_region_wrong', false, /PermanentRedirect/],
    [xmlError(400, 'AuthorizationHeaderMalformed', region), 'store_region_wrong', false, /is in eu-west-1/],
    [xmlError(403, 'RequestTimeTooSkewed'), 'store_clock_skewed', false, /RequestTimeTooSkewed/],
    [xmlError(403, 'InvalidAccessKeyId', secrets), 'store_credentials_refused', false, /InvalidAccessKeyId/],
    [xmlError(403, 'SignatureDoesNotMatch', secrets), 'store_credentials_refused', false, /SignatureDoesNotMatch/],
    [xmlError(400, 'ExpiredToken'), 'store_credentials_refused', false, /ExpiredToken/],
    [xmlError(400, 'KeyTooLongError'), 'store_unavailable', false, /KeyTooLongError/],
    [xmlError(507, 'InsufficientStorage'), 'store_unavailable', true, /InsufficientStorage, HTTP 507/],
  ];
  for (const [answer, code, retry, message] of answers) {
    test(`${message.source} is said as ${code}, whatever was asked, without what was signed`, async () => {
      const { store } = await newStore();
      await store.probe();
      proxy.decide(async ({ method }) => (method === 'HEAD' ? { ...answer, body: '' } : answer));
      for (const ask of [() => store.create(key, short), () => readWhole(store, key), () => keysOf(store, '')]) {
        const error = await ask().then(
          () => assert.fail('it was not refused'),
          (thrown: unknown) => thrown,
        );
        assert.ok(error instanceof DaybookError);
        assert.deepEqual([error.code, error.retry], [code, retry]);
        assert.match(error.message, message);
        const all = inspect(error, { depth: 20, showHidden: true });
        assert.doesNotMatch(all, /testsecret|AKIATEST|string-to-sign|given-signature|canonical|Credential=/);
      }
    });
  }
}

async function bytesOf(body: { open(): AsyncIterable<Uint8Array> }): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body.open()) chunks.push(chunk);
  return Buffer.concat(chunks);
}
