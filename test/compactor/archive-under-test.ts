/** An archive of three nights with all that one can hold, and the means to damage it or to forge what a key holder could. */
import { createHash, createHmac } from 'node:crypto';
import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identityToRecipient } from 'age-encryption';
import { encodeManifest, type Manifest, manifestKey } from '../../compactor/ledger/manifest.ts';
import { openSealed } from '../../compactor/objects/seal-object.ts';
import type { SecretsOfSources } from '../../compactor/verify/check-delivery.ts';
import { type ArchiveReport, type ArchiveToVerify, verifyArchive } from '../../compactor/verify/verify-archive.ts';
import { parseIdentities } from '../../shared/crypto/identities.ts';
import { readSigner, type Signer } from '../../shared/crypto/signing.ts';
import { writeEnvelope } from '../../shared/envelope.ts';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import { secretsOf, sourcesSchema } from '../../shared/schemes/sources.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { type MadeEvent, stripeEvents } from '../stripe/events.ts';
import { signatureHeader } from '../stripe/webhook-sender.ts';
import { type Books, openBooks, stripeRecord } from './books.ts';

const stripeSecret = 'whsec_of_the_archive';
const pandaSecret = 'secret of billing';
export const secretsFile = [
  { name: 'platform', scheme: 'stripe', secrets: [stripeSecret] },
  { name: 'billing', scheme: 'panda', secrets: [pandaSecret] },
];
export const secretsGiven: SecretsOfSources = new Map(
  sourcesSchema.parse(secretsFile).map((source) => {
    const secrets = secretsOf(source, source.name, {}, []).map((secret) => ({ ...secret, notAfterMs: 0 }));
    return [source.name, { source, secrets }];
  }),
);

/**
 * Manifest 1: platform's 18th (12 events, 3 of them told twice) and 19th (8), billing's 19th (5), one quarantined record.
 * Manifest 2: two more events of platform's 18th, and an archived one told again. Manifest 3: an empty day.
 */
export async function openArchive(): Promise<Books> {
  const books = await openBooks();
  const sources = [{ name: 'billing' }, { name: 'platform' }];
  const first = eventsOf('2026-11-18', 14, 'first');
  const second = eventsOf('2026-11-19', 8, 'second');
  books.at('2026-11-21T03:00:00Z');
  await books.deliver(
    ...first.slice(0, 12).map((event) => signedRecord(event)),
    ...first.slice(0, 3).map((event) => signedRecord(event, 60)),
    ...second.map((event) => signedRecord(event)),
    ...[1, 2, 3, 4, 5].map((number) => pandaRecord(number, '2026-11-19')),
    { key: 'x', value: Buffer.from('no envelope') },
  );
  await books.night(sources);
  books.at('2026-11-22T03:00:00Z');
  await books.deliver(...first.slice(12).map((event) => signedRecord(event)), signedRecord(first[5]!, 7200));
  await books.night(sources);
  books.at('2026-11-23T03:00:00Z');
  await books.night(sources);
  return books;
}

export function eventsOf(day: string, count: number, seed: string): MadeEvent[] {
  const fromSeconds = Date.parse(`${day}T00:00:00Z`) / 1000;
  return stripeEvents({ count, seed, fromSeconds, toSeconds: fromSeconds + 86_400 });
}

export function signedRecord(event: MadeEvent, laterSeconds = 0, secret = stripeSecret): AppendRecord {
  const timestampSeconds = event.createdSeconds + laterSeconds;
  const header = signatureHeader({ body: event.text, secrets: [secret], timestampSeconds });
  return stripeRecord(event.text, {
    receivedAt: new Date(timestampSeconds * 1000).toISOString(),
    header: { signedheaders: `stripe-signature: ${header}`, keyid: keyidOf(secret) },
  });
}

export function pandaRecord(number: number, day: string, id = `event-${number}`): AppendRecord {
  const time = `${day}T12:00:0${number}.000Z`;
  const date = new Date(time).toUTCString();
  const token = createHmac('sha256', pandaSecret).update(`${date}\n/events`).digest('base64');
  const header = {
    id,
    source: '/events/billing',
    type: 'paid',
    time,
    receivedat: time,
    via: 'events' as const,
    scheme: 'panda',
    signedheaders: `x-gu-tools-hmac-date: ${date}; x-gu-tools-hmac-token: HMAC ${token}`,
    path: '/events',
    keyid: keyidOf(pandaSecret),
  };
  return { key: id, value: writeEnvelope(header, Buffer.from(`{"value": 1.10, "id": ${number}}`)) };
}

/** Verifies the archive, opened with its identity unless told otherwise. */
export async function verify(books: Books, change: Partial<ArchiveToVerify> = {}): Promise<ArchiveReport> {
  const temporaryDirectory = await mkdtemp(join(tmpdir(), 'daybook-verify-test-'));
  try {
    const signer = readSigner(books.signingKey);
    return await verifyArchive({
      store: books.store,
      prefix: '',
      verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
      identities: parseIdentities(books.identity),
      temporaryDirectory,
      progress: () => {},
      ...change,
    });
  } finally {
    await rm(temporaryDirectory, { recursive: true });
  }
}

export const pathOf = (books: Books, key: string) => join(books.archive, key);

/** Changes manifests as only the holder of the signing key could: the chain and the signatures hold afterwards. */
export async function forgeManifests(
  books: Books,
  change: (manifest: Mutable<Manifest>) => void,
  signer: Signer = readSigner(books.signingKey),
): Promise<void> {
  let previous: Manifest['previous'] = null;
  for (let number = 1; fs.existsSync(pathOf(books, manifestKey('', number))); number += 1) {
    const manifest = (await books.manifest(number)) as Mutable<Manifest>;
    change(manifest);
    manifest.previous = previous;
    const bytes = await encodeManifest(manifest, signer);
    fs.writeFileSync(pathOf(books, manifestKey('', number)), bytes);
    previous = { number, sha256: createHash('sha256').update(bytes).digest('hex') };
  }
}

/** Puts an object of these lines into the archive, named after them in the folder of the old one; what a manifest says of it. */
export async function sealLines(books: Books, oldKey: string, lines: readonly string[]) {
  const path = join(books.directory, 'forged');
  const isIds = oldKey.endsWith('.ids.gz');
  const sealing = openSealed({ path, recipients: isIds ? 'plain' : [await identityToRecipient(books.identity)] });
  for (const line of lines) await sealing.write(line);
  const sealed = await sealing.finish();
  const key = oldKey.replace(/[0-9a-f]{16}(-\d+)?\./, `${sealed.sha256.plaintext.slice(0, 16)}.`);
  fs.renameSync(path, pathOf(books, key));
  return { key, sha256: sealed.sha256, bytes: sealed.bytes, lines: sealed.lines };
}

export type Mutable<T> = T extends string | number | boolean | null ? T : { -readonly [K in keyof T]: Mutable<T[K]> };
