/** What earlier versions wrote is opened by this one: archive, manifests, stream, spool; and a night goes on behind it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseIdentities } from '../../shared/crypto/identities.ts';
import { readSigner, readVerifyingKeys } from '../../shared/crypto/signing.ts';
import { verify } from '../compactor/archive-under-test.ts';
import { openBooks } from '../compactor/books.ts';
import { foundIn } from './found-in.ts';

const versions = fs
  .readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

test('there is a golden folder of at least the first version', () => assert.ok(versions.includes('0.1.0')));

for (const version of versions) {
  const golden = join(import.meta.dirname, version);

  test(`${version}: archive, stream and spool hold what they held when they were written`, async () => {
    assert.deepEqual(await foundIn(golden), JSON.parse(fs.readFileSync(join(golden, 'expected.json'), 'utf8')));
  });

  test(`${version}: the next night goes on with its chain and takes what waits in its stream, once`, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'daybook-golden-'));
    fs.cpSync(join(golden, 'archive'), join(directory, 'archive'), { recursive: true });
    fs.copyFileSync(join(golden, 'stream.sqlite'), join(directory, 'stream.sqlite'));
    const books = await openBooks({ directory });
    try {
      const signer = readSigner(books.signingKey);
      const earlier = readVerifyingKeys(fs.readFileSync(join(golden, 'verifying-key.pem'), 'utf8'));
      const verifyingKeys = new Map([...earlier, [signer.keyId, { verify: signer.verify }]]);
      const { archive } = JSON.parse(fs.readFileSync(join(golden, 'expected.json'), 'utf8'));
      books.at('2026-11-25T03:00:00Z');
      const report = await books.night([{ name: 'billing' }, { name: 'platform' }], { verifyingKeys });
      assert.deepEqual([report.errors, report.manifest], [[], archive.manifests + 1]);
      const waiting = report.days.filter(({ day, counts }) => day === '2026-11-23' && counts.delivered > 0);
      assert.deepEqual(
        waiting.map(({ source, counts }) => [source, counts.delivered, counts.duplicates]),
        [
          ['billing', 1, 0],
          ['platform', 3, 0],
        ],
      );
      const identities = [
        ...parseIdentities(fs.readFileSync(join(golden, 'identity.txt'), 'utf8')),
        ...parseIdentities(books.identity),
      ];
      assert.deepEqual((await verify(books, { verifyingKeys, identities })).breaks, []);
      const again = await books.night([{ name: 'billing' }, { name: 'platform' }], { verifyingKeys });
      assert.deepEqual([again.manifest, again.errors], [null, []]);
    } finally {
      await books.close();
    }
  });
}
