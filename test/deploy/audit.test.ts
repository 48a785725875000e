/** deploy/audit.sh and `verify` agree: on archives as the tests make them, and on each that is damaged in one place. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { generateX25519Identity } from 'age-encryption';
import type { Manifest, Part } from '../../compactor/ledger/manifest.ts';
import { readSigner, type VerifyingKeys } from '../../shared/crypto/signing.ts';
import {
  eventsOf,
  forgeManifests,
  openArchive,
  pathOf,
  sealLines,
  signedRecord,
  verify,
} from '../compactor/archive-under-test.ts';
import { type Books, listingOf } from '../compactor/books.ts';
import { prune, pruneTime } from '../compactor/ledger/prune-under-test.ts';
import { requireCommand } from '../require-service.ts';
import { startFakeStripe } from '../stripe/fake-stripe.ts';

const script = fileURLToPath(new URL('../../deploy/audit.sh', import.meta.url));
const newKey = () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

/** What the script says, and whether verify says the same; both with the private key or both without. */
async function audit(books: Books, isOpened: boolean, signingKeys = [books.signingKey]) {
  const publicKeys = signingKeys.map((key) => createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString());
  const file = (name: string, text: string) => {
    fs.writeFileSync(join(books.directory, name), text);
    return join(books.directory, name);
  };
  const identity = isOpened ? [file('identity', `${books.identity}\n`)] : [];
  const said = await new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const args = [script, books.archive, file('keys.pem', publicKeys.join('')), ...identity];
    execFile('sh', args, (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }));
  });
  const signers = signingKeys.map(readSigner);
  const verifyingKeys: VerifyingKeys = new Map(signers.map((one) => [one.keyId, { verify: one.verify }]));
  const report = await verify(books, { verifyingKeys, ...(isOpened ? {} : { identities: undefined }) });
  assert.deepEqual(said.code, report.ok ? 0 : 3, `${said.stdout}${said.stderr}${JSON.stringify(report.breaks)}`);
  return { ...said, report };
}

const commands = ['age', 'jq', 'openssl', 'gunzip', 'sha256sum'] as const;

describe('the audit script', () => {
  let books: Books;
  let part: Part;
  let manifests: Manifest[];
  let kept: string;
  const secondKey = newKey();

  /** Beside openArchive's: a night that lists, with exceptions; a prune; and a night that another key signs. */
  before(async () => {
    books = await openArchive();
    const stripe = await startFakeStripe({ clock: { now: () => books.now() } });
    const listing = listingOf(stripe);
    for (const { text } of eventsOf('2026-11-24', 3, 'listed')) stripe.add(text);
    await books.deliver(...eventsOf('2026-11-24', 2, 'not listed').map((event) => signedRecord(event)));
    books.at('2026-11-25T03:00:00Z');
    await books.night([{ name: 'platform', listing }]);
    listing.api.close();
    await stripe.close();
    books.at(pruneTime);
    await prune(books, { evidenceDays: 32, eventDays: 33 });
    const signer = readSigner(secondKey);
    const verifyingKeys = new Map([readSigner(books.signingKey), signer].map((one) => [one.keyId, one]));
    await books.night([{ name: 'platform' }], { signer, verifyingKeys });
    const numbers = (await books.keys('manifests/')).map((_, index) => index + 1);
    manifests = await Promise.all(numbers.map((number) => books.manifest(number)));
    part = manifests[0]!.sources.platform!['2026-11-19']!.parts[0]!;
    kept = join(books.directory, 'kept');
    fs.cpSync(books.archive, kept, { recursive: true });
  });
  afterEach(() => {
    fs.rmSync(books.archive, { recursive: true, force: true });
    fs.cpSync(kept, books.archive, { recursive: true });
  });
  after(() => books.close());

  const manifest = (number: number) => pathOf(books, `manifests/0000000${number}.jsonl`);
  const keys = () => [books.signingKey, secondKey];
  const flip = (path: string, at: number) => {
    const bytes = fs.readFileSync(path);
    bytes[at < 0 ? bytes.length + at : at]! ^= 1;
    fs.writeFileSync(path, bytes);
  };
  const edit = (path: string, change: (text: string) => string) =>
    fs.writeFileSync(path, change(fs.readFileSync(path, 'latin1')), 'latin1');

  test('has at most 60 lines', () => {
    assert.ok(fs.readFileSync(script, 'utf8').trimEnd().split('\n').length <= 60);
  });

  test('holds what verify holds: nights, exceptions, a prune, a change of the signing key', async (t) => {
    if (!commands.every((command) => requireCommand(t, command))) return;
    for (const isOpened of [false, true]) {
      const { stdout, stderr, report } = await audit(books, isOpened, keys());
      assert.equal(report.ok, true);
      assert.equal(stderr, '');
      assert.match(stdout, /^6 manifests, \d+ objects, newest manifest [0-9a-f]{64}, OK\n$/);
    }
    assert.ok(manifests[3]!.sources.platform!['2026-11-24']!.exceptions, 'there are exceptions');
    assert.ok((manifests[4]!.pruned?.length ?? 0) > 0, 'something is pruned');
  });

  test('without arguments, with a file that is not there, or with a wrong identity it says just that', async (t) => {
    if (!commands.every((command) => requireCommand(t, command))) return;
    const say = (...args: string[]) =>
      new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
        execFile('sh', [script, ...args], (error, stdout, stderr) =>
          resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
        );
      });
    assert.deepEqual(await say(), { code: 1, stdout: '', stderr: 'usage: sh audit.sh FOLDER KEYS.pem [IDENTITY]\n' });
    const absent = await say(books.archive, '/none.pem');
    assert.deepEqual([absent.code, absent.stderr], [1, 'audit.sh: /none.pem is not there, or cannot be read\n']);
    await audit(books, false, keys());
    const wrong = join(books.directory, 'wrong');
    fs.writeFileSync(wrong, `${await generateX25519Identity()}\n`);
    const { code, stdout, stderr } = await say(books.archive, join(books.directory, 'keys.pem'), wrong);
    assert.deepEqual([code, stderr], [3, '']);
    assert.match(stdout, /^platform\/\S+\.age cannot be opened with this identity$/m);
    assert.match(stdout, /, not OK\n$/);
    assert.doesNotMatch(stdout, /BROKEN/);
  });

  test('folders with names of manifests are not manifests: held where the chain is whole, and no stand-in for one', async (t) => {
    if (!commands.every((command) => requireCommand(t, command))) return;
    for (const number of [0, 7, 9]) fs.mkdirSync(manifest(number));
    fs.writeFileSync(join(manifest(7), 'x'), 'x');
    assert.match((await audit(books, false, keys())).stdout, /^6 manifests, .*OK\n$/);
    fs.rmSync(manifest(3));
    fs.mkdirSync(manifest(3));
    assert.match((await audit(books, false, keys())).stdout, /BROKEN manifests\/00000003.jsonl is not there/);
    for (const number of [1, 2, 4, 5, 6]) fs.rmSync(manifest(number));
    assert.match((await audit(books, false, keys())).stdout, /BROKEN manifests\/00000001.jsonl is not there/);
  });

  test('a key that is not given is not believed', async (t) => {
    if (!commands.every((command) => requireCommand(t, command))) return;
    assert.match((await audit(books, false)).stdout, /BROKEN manifests\/00000006.jsonl is signed by none/);
    await audit(books, false, [secondKey]);
  });

  for (const [what, damage, said] of [
    ['no manifest', () => fs.rmSync(pathOf(books, 'manifests'), { recursive: true }), /00000001.jsonl is not there/],
    ['the first manifest missing', () => fs.rmSync(manifest(1)), /00000001.jsonl is not there/],
    ['a manifest missing in the middle', () => fs.rmSync(manifest(3)), /00000003.jsonl is not there/],
    ['a manifest in the place of another', () => fs.copyFileSync(manifest(3), manifest(2)), /does not follow/],
    ['a manifest cut in a line', () => fs.truncateSync(manifest(4), 200), /two lines/],
    ['a manifest without its last LF', () => edit(manifest(6), (text) => text.slice(0, -1)), /two lines/],
    ['a line behind the signature', () => fs.appendFileSync(manifest(6), '{}\n'), /two lines/],
    ['a flipped bit in a manifest', () => flip(manifest(2), 30), /signed by none/],
    ['a flipped bit in a signature', () => flip(manifest(6), -20), /signed by none|two lines/],
    [
      'a member beside the signature',
      () => edit(manifest(6), (text) => text.replace(/\}\n$/, ',"a":1}\n')),
      /two lines/,
    ],
  ] as const) {
    test(`${what}: said by both alike`, async (t) => {
      if (!commands.every((command) => requireCommand(t, command))) return;
      damage();
      assert.match((await audit(books, false, keys())).stdout, said);
    });
  }

  test('of objects that are missing, changed, cut short or there again both name the same', async (t) => {
    if (!commands.every((command) => requireCommand(t, command))) return;
    const [other, pruned] = ['2026-11-24', '2026-11-18'].map(
      (day) => manifests.flatMap(({ sources }) => sources.platform?.[day]?.parts ?? [])[0]!,
    ) as [Part, Part];
    const billing = manifests[0]!.sources.billing!['2026-11-19']!.parts[0]!;
    const damaged = [part.key, part.ids.key, other.deliveries!.key, pruned.key, billing.ids.key, billing.key];
    const missing = [other.key, other.ids.key, pruned.ids.key, manifests[0]!.quarantine[0]!.key];
    for (const key of damaged.slice(0, 3)) flip(pathOf(books, key), -5);
    fs.writeFileSync(pathOf(books, pruned.key), 'x');
    for (const key of damaged.slice(4)) fs.truncateSync(pathOf(books, key), 20);
    for (const key of missing) fs.rmSync(pathOf(books, key));
    // No manifest names it.
    fs.writeFileSync(pathOf(books, 'platform/0123456789abcdef.ids.gz'), 'x');
    const { stdout, report } = await audit(books, false, keys());
    const named = [...stdout.matchAll(/^BROKEN (\S+)/gm)].map(([, key]) => key!);
    assert.deepEqual(named.sort(), report.breaks.map(({ key }) => key).sort());
    assert.deepEqual(named, [...damaged, ...missing].sort());
  });

  test('what a holder of the signing key wrote: a retired key, counts, an id twice, other lines', async (t) => {
    if (!commands.every((command) => requireCommand(t, command))) return;
    const entryOf = (manifest: Manifest) => manifest.sources.platform?.['2026-11-19'];
    const bend = (counts: object) => counts as { delivered: number };
    const forged = async (change: Parameters<typeof forgeManifests>[1], said: RegExp, isOpened = false) => {
      await forgeManifests(books, change);
      assert.match((await audit(books, isOpened, keys())).stdout, said);
    };
    await forgeManifests(books, () => {}, readSigner(secondKey));
    fs.copyFileSync(join(kept, 'manifests/00000001.jsonl'), manifest(1));
    await audit(books, false, keys());
    await forged(() => {}, /^6 manifests/);
    const lines = await books.lines(part.key);
    const other = await sealLines(books, part.key, lines.slice(1));
    await forged(
      (manifest) => {
        const entry = entryOf(manifest);
        if (manifest.number === 1) Object.assign(entry!.parts[0]!, { key: other.key, sha256: other.sha256 });
      },
      /has other lines/,
      true,
    );
    await forged((manifest) => {
      if (manifest.number === 1) bend(entryOf(manifest)!.counts).delivered += 1;
    }, /BROKEN manifest 1: counts of platform 2026-11-19/);
    await forged((manifest) => {
      const entry = entryOf(manifest);
      if (manifest.number === 1) bend(entry!.counts).delivered -= 1;
      if (manifest.number === 4) {
        (manifest.sources.platform as Record<string, unknown>)['2026-11-19'] = entryOf(manifests[0]!);
        bend(manifest.sources.platform!['2026-11-19']!.counts).delivered *= 2;
      }
    }, /evt_\w+ is archived twice/);
  });
});
