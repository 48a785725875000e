/** Writing over one object: on a directory, and on the S3 server of test/services/s3.sh. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openReplacer, openStore, type StoreConfiguration } from '../../../shared/store/open.ts';
import { readWhole } from '../../../shared/store/store.ts';
import { createBucket } from '../../services/s3-buckets.ts';
import { startService } from '../../services/service.ts';

async function assertReplaces(configured: StoreConfiguration): Promise<void> {
  const { store } = await openStore(configured, '');
  const replacer = await openReplacer(configured, '');
  try {
    for (const text of ['first', 'the second, which is longer', '3']) {
      await replacer.replace('secrets/latest', Buffer.from(text));
      assert.equal(String(await readWhole(store, 'secrets/latest')), text);
    }
    assert.deepEqual(await Array.fromAsync(store.list('')), ['secrets/latest']);
    for (const key of ['', '../x', 'a//b']) {
      await assert.rejects(replacer.replace(key, Buffer.from('x')), { code: 'object_key_invalid' }, key);
    }
  } finally {
    await replacer.close();
    await store.close();
  }
}

test('on a directory the object has the bytes that were written last, for its owner alone', async () => {
  const path = await mkdtemp(join(tmpdir(), 'daybook-replace-'));
  try {
    await assertReplaces({ type: 'directory', params: { path } });
    assert.equal((await stat(join(path, 'secrets/latest'))).mode & 0o777, 0o600);
  } finally {
    await rm(path, { recursive: true });
  }
});

const service = await startService<{ readonly endpoint: string }>('s3.sh');
after(() => service?.stop());
if (service !== undefined) {
  test('on S3 the object has the bytes that were written last', async () => {
    await assertReplaces({ type: 's3', params: await createBucket(service.facts.endpoint) });
  });
}
