/** The S3 store against a real server (test/services/s3.sh). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { openStore } from '../../../../shared/store/open.ts';
import type { S3Params } from '../../../../shared/store/s3/settings.ts';
import { openS3Store } from '../../../../shared/store/s3/store.ts';
import { bodyOf, type ObjectBody, readWhole } from '../../../../shared/store/store.ts';
import { storeSchema } from '../../../../shared/store/stores.ts';
import { keysOf, objectStoreContract } from '../../../contract/object-store.ts';
import { type ProxyHandler, startHttpProxy } from '../../../faults/http-proxy.ts';
import { startService } from '../../../services/service.ts';

process.env.AWS_ACCESS_KEY_ID = 'test';
process.env.AWS_SECRET_ACCESS_KEY = 'testsecret';
const service = await startService<{ endpoint: string }>('s3.sh');
const small = bodyOf(Buffer.from('bytes'));

if (service !== undefined) {
  const { endpoint } = service.facts;
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true });
  after(async () => {
    client.destroy();
    await service.stop();
  });

  const newBucket = async () => {
    const bucket = `daybook-${randomBytes(6).toString('hex')}`;
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    return { bucket, endpoint, region: 'us-east-1', forcePathStyle: true };
  };
  const open = (t: TestContext, params: S3Params, prefix = '') => {
    const store = openS3Store(params, prefix);
    t.after(() => store.close());
    return store;
  };

  objectStoreContract('S3 store', async () => {
    const params = await newBucket();
    return {
      open: async () => (await openStore({ type: 's3', params }, '')).store,
      remove: async () => undefined,
    };
  });

  test('S3 store: a store that will be written to is probed when it is opened, under its prefix', async () => {
    const params = { ...(await newBucket()), prefix: 'books/daybook' };
    const read = await openStore({ type: 's3', params }, '');
    assert.deepEqual([read.prefix, read.store.location], ['books/daybook/', `${endpoint}/${params.bucket}`]);
    assert.deepEqual(await keysOf(read.store, ''), []);
    const proxy = await startHttpProxy(endpoint);
    const write = await openStore({ type: 's3', params: { ...params, endpoint: proxy.endpoint } }, '', {
      willCreate: true,
    });
    assert.ok(proxy.requests.every(({ path }) => path.startsWith(`/${params.bucket}/books/daybook/.create-only`)));
    assert.ok(proxy.requests.length >= 4);
    await read.store.close();
    await write.store.close();
    await proxy.close();
  });

  test('S3 store: memory does not grow with the object', async (t) => {
    const store = open(t, await newBucket());
    const pieceBytes = 1024 * 1024;
    const pieces = 192;
    let most = 0;
    const body: ObjectBody = {
      bytes: pieces * pieceBytes,
      async *open() {
        for (let n = 0; n < pieces; n++) {
          yield Buffer.alloc(pieceBytes, n);
          most = Math.max(most, process.memoryUsage().arrayBuffers);
        }
      },
    };
    const before = process.memoryUsage().arrayBuffers;
    assert.equal(await store.create('large', body), 'created');
    assert.deepEqual(await store.head('large'), { bytes: body.bytes });
    assert.ok(most - before < 120 * 1024 * 1024, `${most - before} bytes of buffers`);
  });

  test('S3 store: readers that stop half-way give their connections back', async (t) => {
    const store = open(t, await newBucket());
    await store.create('object', bodyOf(randomBytes(3_000_000)));
    // More than the SDK's 50 connections.
    for (let n = 0; n < 60; n++) {
      for await (const chunk of store.read('object')) {
        assert.ok(chunk.byteLength > 0);
        break;
      }
    }
    assert.equal((await readWhole(store, 'object')).byteLength, 3_000_000);
  });

  test('S3 store: what the real server says of wrong settings is told apart', async (t) => {
    const params = await newBucket();
    const missing = open(t, { ...params, bucket: 'daybook-is-not-there' });
    await assert.rejects(missing.create('a', small), { code: 'store_bucket_missing', retry: false });
    await assert.rejects(keysOf(missing, ''), { code: 'store_bucket_missing' });
    await assert.rejects(readWhole(missing, 'a'), { code: 'store_bucket_missing' });

    const elsewhere = open(t, { ...params, region: 'eu-west-1' });
    await assert.rejects(keysOf(elsewhere, ''), { code: 'store_region_wrong', retry: false });

    const nobody = openS3Store({ ...params, endpoint: 'http://127.0.0.1:1' }, '');
    await assert.rejects(keysOf(nobody, ''), { code: 'store_unavailable', retry: true, message: /ECONNREFUSED/ });
    await nobody.close();

    await withEnvironment({ AWS_SECRET_ACCESS_KEY: 'another' }, async () => {
      await assert.rejects(keysOf(open(t, params), ''), { code: 'store_credentials_refused', retry: false });
    });
    await withEnvironment({ AWS_ACCESS_KEY_ID: 'nobody' }, async () => {
      await assert.rejects(keysOf(open(t, params), ''), { code: 'store_credentials_refused', retry: false });
    });
  });

  test('S3 store: without credentials or a region it says so', async (t) => {
    const params = await newBucket();
    const home = await fs.mkdtemp(join(tmpdir(), 'daybook-home-'));
    t.after(() => fs.rm(home, { recursive: true }));
    const none = {
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_SHARED_CREDENTIALS_FILE: join(home, 'credentials'),
      AWS_CONFIG_FILE: join(home, 'config'),
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_REGION: undefined,
      AWS_DEFAULT_REGION: undefined,
    };
    await withEnvironment(none, async () => {
      await assert.rejects(keysOf(open(t, params), ''), { code: 'store_credentials_missing', retry: false });
      const { region: _, ...anywhere } = params;
      await assert.rejects(keysOf(open(t, anywhere), ''), { code: 'store_region_wrong', retry: false });
    });
  });

  test('S3 store: encryption, storage class and checksum go with every write, parts summed by MD5 where asked', async (t) => {
    const proxy = await startHttpProxy(endpoint);
    t.after(() => proxy.close());
    const params = { ...(await newBucket()), endpoint: proxy.endpoint };
    const long = bodyOf(randomBytes(8 * 1024 * 1024 + 1));
    const written = async (more: Partial<S3Params>) => {
      const from = proxy.requests.length;
      const store = open(t, { ...params, ...more });
      const keys = [randomBytes(4).toString('hex'), randomBytes(4).toString('hex')];
      await store.create(keys[0]!, small);
      await store.create(keys[1]!, long);
      return proxy.requests.slice(from).filter(({ path }) => keys.some((key) => path.includes(key)));
    };

    const plain = await written({});
    const uploads = plain.filter(({ method }) => method === 'PUT');
    assert.equal(uploads.length, 3);
    for (const { headers } of uploads) assert.ok(headers['x-amz-checksum-crc32']);
    assert.ok(plain.every(({ headers }) => headers['x-amz-server-side-encryption'] === undefined));

    const summed = (await written({ checksum: 'md5' })).filter(({ method }) => method === 'PUT');
    assert.equal(summed.length, 3);
    for (const { headers } of summed) {
      assert.ok(headers['content-md5']);
      assert.ok(Object.keys(headers).every((name) => !name.startsWith('x-amz-checksum')));
      assert.equal(headers['x-amz-trailer'], undefined);
    }

    const sealed = await written({ sse: 'aws:kms', kmsKeyId: 'alias/books', storageClass: 'STANDARD_IA' });
    const begun = sealed.filter(({ path, method }) => method === 'POST' && path.includes('uploads'));
    const put = sealed.filter(({ path, method }) => method === 'PUT' && !path.includes('uploadId'));
    assert.deepEqual([begun.length, put.length], [1, 1]);
    for (const { headers } of [...begun, ...put]) {
      assert.equal(headers['x-amz-server-side-encryption'], 'aws:kms');
      assert.equal(headers['x-amz-server-side-encryption-aws-kms-key-id'], 'alias/books');
      assert.equal(headers['x-amz-storage-class'], 'STANDARD_IA');
    }
  });

  test('S3 store: bytes that change on the way are refused by the server, and not stored', async (t) => {
    const proxy = await startHttpProxy(endpoint);
    t.after(() => proxy.close());
    const params = { ...(await newBucket()), endpoint: proxy.endpoint };
    const damage: ProxyHandler = ({ path, method, body }, forward) =>
      method === 'PUT' && !path.includes('.create-only') ? forward(Buffer.alloc(body.byteLength, 'x')) : forward();
    for (const checksum of ['crc32', 'md5'] as const) {
      const store = open(t, { ...params, checksum });
      await store.probe();
      proxy.decide(damage);
      await assert.rejects(store.create('object', small), { code: 'store_unavailable', retry: true }, checksum);
      proxy.decide();
      assert.equal(await store.head('object'), undefined, checksum);
    }
  });
}

test('the settings of an S3 store are checked before anything is opened', () => {
  const parse = (params: object) => storeSchema.safeParse({ type: 's3', params: { bucket: 'books', ...params } });
  for (const sound of [
    {},
    { prefix: 'a/b', region: 'eu-west-1', forcePathStyle: true, endpoint: 'http://store.internal:7070' },
    { sse: 'AES256', storageClass: 'STANDARD_IA', checksum: 'md5' },
    { sse: 'aws:kms', kmsKeyId: 'arn:aws:kms:eu-west-1:111122223333:key/1' },
  ]) {
    assert.equal(parse(sound).success, true, JSON.stringify(sound));
  }
  for (const wrong of [
    { bucket: 'No_Bucket' },
    { bucket: '' },
    { prefix: '/a' },
    { region: 'EU (Ireland)' },
    { endpoint: 'store.internal' },
    { endpoint: 'ftp://store.internal' },
    { endpoint: 'https://user:secret@store.internal' },
    { sse: 'none' },
    { kmsKeyId: 'alias/books' },
    { storageClass: 'DEEP_ARCHIVE' },
    { accessKeyId: 'test' },
  ]) {
    assert.equal(parse(wrong).success, false, JSON.stringify(wrong));
  }
});

async function withEnvironment(
  values: Readonly<Record<string, string | undefined>>,
  work: () => Promise<void>,
): Promise<void> {
  const before = { ...process.env };
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  try {
    await work();
  } finally {
    process.env = before;
  }
}
