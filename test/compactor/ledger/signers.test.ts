import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadLedger } from '../../../compactor/ledger/ledger.ts';
import { manifestKey } from '../../../compactor/ledger/manifest.ts';
import { readSigner, type Signer } from '../../../shared/crypto/signing.ts';
import { openBooks, stripeRecord } from '../books.ts';
import { eventsOf } from '../stripe/stripe-nights.ts';

const newSigner = () =>
  readSigner(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
const keysOf = (...signers: Signer[]) => new Map(signers.map((one) => [one.keyId, { verify: one.verify }]));

test('once a newer key has signed, an older one signs no more: no night writes with it, and nobody believes it', async (t) => {
  const books = await openBooks();
  t.after(() => books.close());
  const first = readSigner(books.signingKey);
  const second = newSigner();
  const verifyingKeys = keysOf(first, second);
  const night = async (number: number, signer: Signer, change = {}) => {
    await books.deliver(...eventsOf('2026-11-18', 2, String(number)).map(({ text }) => stripeRecord(text)));
    return books.night([{ name: 'platform' }], { signer, verifyingKeys, ...change });
  };
  books.at('2026-11-20T03:00:00Z');
  await night(1, first);
  await night(2, second);
  await assert.rejects(night(3, first), { code: 'signer_retired', message: /signed before/ });
  assert.equal((await night(4, second)).manifest, 3);

  // One that wrote all the same, since it did not know of the newer key's manifests, is refused by everybody.
  const ranges = keysOf(first, second);
  ranges.set(first.keyId, { verify: first.verify, until: 1 } as never);
  await loadLedger(books.store, '', ranges);
  ranges.set(second.keyId, { verify: second.verify, from: 2, until: 2 } as never);
  await assert.rejects(loadLedger(books.store, '', ranges), {
    code: 'signer_retired',
    message: /manifest 3: .*may sign 2 to 2/,
  });
  await assert.rejects(night(5, second, { verifyingKeys: ranges }), { code: 'signer_retired' });
});

test('the newest signature vouches for all before: whatever byte is changed, of whichever manifest, is told by its number', async (t) => {
  const books = await openBooks();
  t.after(() => books.close());
  const signer = readSigner(books.signingKey);
  books.at('2026-11-20T03:00:00Z');
  for (const number of [1, 2, 3]) {
    await books.deliver(...eventsOf('2026-11-18', 2, String(number)).map(({ text }) => stripeRecord(text)));
    await books.night([{ name: 'platform' }]);
  }
  const load = () => loadLedger(books.store, '', keysOf(signer));
  assert.equal((await load()).head?.number, 3);
  for (const number of [1, 2, 3]) {
    const path = join(books.archive, manifestKey('', number));
    const whole = await readFile(path);
    const signature = whole.indexOf('"signature":"') + 20;
    for (const at of [whole.indexOf('"createdAt":"2') + 14, signature]) {
      const changed = Buffer.from(whole);
      changed[at] = changed[at] === 0x30 ? 0x31 : 0x30;
      await writeFile(path, changed);
      const message = new RegExp(`manifest ${number}: its signature does not hold`);
      await assert.rejects(load(), { code: 'ledger_broken', message }, `${number} at ${at}`);
    }
    await writeFile(path, whole);
  }
  assert.equal((await load()).head?.number, 3);
});
