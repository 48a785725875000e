import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxManifestBytes, readManifest } from '../../../compactor/ledger/manifest.ts';
import type { ObjectStore } from '../../../shared/store/store.ts';

test('of a manifest that somebody blew up no more is read than the largest can have', async () => {
  const chunk = Buffer.alloc(1024 * 1024);
  let chunks = 0;
  const endless = {
    async *read() {
      for (; ; chunks += 1) yield chunk;
    },
  } as unknown as ObjectStore;
  const bytes = await readManifest(endless, 'manifests/00000001.jsonl');
  assert.equal(bytes.length, maxManifestBytes + chunk.length);
  assert.ok(chunks <= maxManifestBytes / chunk.length);
});
