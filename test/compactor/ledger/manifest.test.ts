import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exceptionLines, maxManifestBytes, readManifest } from '../../../compactor/ledger/manifest.ts';
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

test('the lines of exceptions are those of all kinds, also of kinds that came later', () => {
  const counts = { notListed: 1, differing: 2, missing: 3, listedBody: 4, lostAfter2xx: 5 };
  assert.equal(exceptionLines({ counts }), 15);
});
