/** Deleting from S3, against a real server (test/services/s3.sh): versions, locks, answers that are lost. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { openRemover, openStore } from '../../../../shared/store/open.ts';
import type { S3Params } from '../../../../shared/store/s3/settings.ts';
import { bodyOf, type ObjectRemover, type ObjectStore } from '../../../../shared/store/store.ts';
import { objectRemoverContract } from '../../../contract/object-remover.ts';
import { keysOf } from '../../../contract/object-store.ts';
import { type HttpProxy, type ProxyHandler, startHttpProxy } from '../../../faults/http-proxy.ts';
import { createBucket } from '../../../services/s3-buckets.ts';
import { startService } from '../../../services/service.ts';

const service = await startService<{ endpoint: string }>('s3.sh');
if (service !== undefined) {
  after(() => service.stop());
  removalTests(service.facts.endpoint);
}

function removalTests(endpoint: string): void {
  const small = bodyOf(Buffer.from('bytes'));

  objectRemoverContract('S3 store', async () => {
    const configuration = { type: 's3', params: await createBucket(endpoint) } as const;
    const { store } = await openStore(configuration, '');
    return { store, remover: await openRemover(configuration, ''), close: async () => undefined };
  });

  async function open(t: TestContext, params: S3Params): Promise<{ store: ObjectStore; remover: ObjectRemover }> {
    const configuration = { type: 's3', params } as const;
    const { store } = await openStore(configuration, '');
    const remover = await openRemover(configuration, '');
    t.after(() => Promise.all([store.close(), remover.close()]));
    return { store, remover };
  }

  function openClient(t: TestContext, params: S3Params): S3Client {
    const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: params.forcePathStyle ?? true });
    t.after(() => client.destroy());
    return client;
  }

  test('S3 store: where the bucket has versions a removed object is hidden, and its bytes are an older version', async (t) => {
    const params = await createBucket(endpoint);
    const client = openClient(t, params);
    const { bucket: Bucket } = params;
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
    const { store, remover } = await open(t, params);
    await store.create('a/b', small);
    assert.equal(await remover.remove('a/b'), 'hidden');
    assert.equal(await store.head('a/b'), undefined);
    assert.deepEqual(await keysOf(store, ''), []);
    const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'a/' }));
    const old = await client.send(new GetObjectCommand({ Bucket, Key: 'a/b', VersionId: Versions[0]!.VersionId }));
    assert.equal(await old.Body!.transformToString(), 'bytes');
  });

  test('S3 store: what Object Lock keeps is not lost, whether the server refuses or hides it', async (t) => {
    const params = { ...(await createBucket(endpoint)), bucket: `daybook-locked-${Date.now()}` };
    const client = openClient(t, params);
    const { bucket: Bucket } = params;
    await client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }));
    const { store, remover } = await open(t, params);
    const DefaultRetention = { Mode: 'COMPLIANCE', Days: 1 } as const;
    const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled', Rule: { DefaultRetention } } as const;
    await client.send(new PutObjectLockConfigurationCommand({ Bucket, ObjectLockConfiguration }));
    await store.create('a/locked', small);
    const outcome = await remover.remove('a/locked').catch((error) => error.code);
    t.diagnostic(`the server: ${outcome}`);
    assert.ok(['hidden', 'removal_refused'].includes(outcome), String(outcome));
    const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'a/' }));
    assert.deepEqual(
      Versions.map(({ Key, Size }) => [Key, Size]),
      [['a/locked', 5]],
    );
  });

  const refusal = (code: string, status: number): ProxyHandler => {
    const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`;
    return async ({ method }, forward) =>
      method === 'DELETE' ? { status, headers: { 'content-type': 'application/xml' }, body } : forward();
  };

  const through = async (t: TestContext): Promise<{ proxy: HttpProxy; params: S3Params }> => {
    const proxy = await startHttpProxy(endpoint);
    t.after(() => proxy.close());
    return { proxy, params: { ...(await createBucket(endpoint)), endpoint: proxy.endpoint } };
  };

  test('S3 store: a refusal of one object is told as such, other failures as theirs; the object stays', async (t) => {
    const { proxy, params } = await through(t);
    const { store, remover } = await open(t, params);
    await store.create('a/b', small);
    for (const [code, status, expected] of [
      ['AccessDenied', 403, { code: 'removal_refused', retry: false, message: /^a\/b: .*AccessDenied/ }],
      ['NoSuchBucket', 404, { code: 'store_bucket_missing' }],
      ['SignatureDoesNotMatch', 403, { code: 'store_credentials_refused' }],
      ['SlowDown', 503, { code: 'store_unavailable', retry: true }],
    ] as const) {
      proxy.decide(refusal(code, status));
      await assert.rejects(remover.remove('a/b'), expected, code);
      proxy.decide();
      assert.deepEqual(await store.head('a/b'), { bytes: 5 }, code);
    }
    // Servers that answer so for keys that are not there.
    proxy.decide(refusal('NoSuchKey', 404));
    assert.equal(await remover.remove('a/none'), 'removed');
  });

  test('S3 store: a removal whose answer is lost has happened, and a repeat resolves', async (t) => {
    const { proxy, params } = await through(t);
    const { store, remover } = await open(t, params);
    await store.create('a/b', small);
    proxy.decide(async ({ method }, forward) => {
      const answer = await forward();
      return method === 'DELETE' ? 'reset' : answer;
    });
    await assert.rejects(remover.remove('a/b'), { code: 'store_unavailable', retry: true });
    proxy.decide();
    assert.equal(await store.head('a/b'), undefined);
    assert.equal(await remover.remove('a/b'), 'removed');
  });
}
