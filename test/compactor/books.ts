/** A whole compactor on real parts in a temporary folder, with a clock that the test sets: for tests of the night. */

import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { pino } from 'pino';
import { compact } from '../../compactor/compact.ts';
import { type Ledger, loadLedger } from '../../compactor/ledger/ledger.ts';
import type { Manifest } from '../../compactor/ledger/manifest.ts';
import type { Night, NightReport, NightSource } from '../../compactor/night.ts';
import { openStaging } from '../../compactor/staging/staging.ts';
import type { ListingSource } from '../../compactor/stripe/list-days.ts';
import { openStripeApi } from '../../compactor/stripe/list-events.ts';
import { parseIdentities } from '../../shared/crypto/identities.ts';
import { linesOf, openPlaintext, unpack } from '../../shared/crypto/open-sealed.ts';
import { readSigner } from '../../shared/crypto/signing.ts';
import { type EnvelopeHeader, writeEnvelope } from '../../shared/envelope.ts';
import { isOrganisationKey } from '../../shared/schemes/stripe-scope.ts';
import { openDirectoryStore } from '../../shared/store/directory/store.ts';
import { type ObjectStore, readWhole } from '../../shared/store/store.ts';
import { openEmbeddedReader, openEmbeddedWriter } from '../../shared/stream/embedded/embedded.ts';
import type { AppendRecord, EventStreamReader, EventStreamWriter } from '../../shared/stream/stream.ts';
import type { FakeStripe } from '../stripe/fake-stripe.ts';

export interface Books {
  readonly directory: string;
  readonly archive: string;
  readonly store: ObjectStore;
  readonly writer: EventStreamWriter;
  readonly identity: string;
  readonly signingKey: string;
  /** Sets the time of every later night. */
  at(time: string): void;
  now(): Date;
  deliver(...records: AppendRecord[]): Promise<void>;
  /** Runs a night; `change` replaces parts of it. */
  night(sources: readonly NightSource[], change?: NightChange): Promise<NightReport>;
  ledger(): Promise<Ledger>;
  manifest(number: number): Promise<Manifest>;
  /** The plaintext lines of a sealed object, or of an `ids.gz`. */
  lines(key: string): Promise<string[]>;
  /** Keys of everything in the store. */
  keys(prefix?: string): Promise<string[]>;
  close(): Promise<void>;
}

export interface NightChange extends Partial<Omit<Night, 'stream' | 'store'>> {
  stream?(reader: EventStreamReader): EventStreamReader;
  store?(store: ObjectStore): ObjectStore;
}

/** `store`: another one than a folder of the books' own. Closed with the books. */
export async function openBooks(options: { directory?: string; store?: ObjectStore } = {}): Promise<Books> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'daybook-books-')));
  const archive = join(directory, 'archive');
  const data = directory;
  const identity = await generateIdentity();
  const recipients = [await identityToRecipient(identity)];
  const signingKey = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const signer = readSigner(signingKey);
  const store = options.store ?? openDirectoryStore(archive);
  const writer = await openEmbeddedWriter({ directory: data });
  let now = new Date('2026-11-21T03:00:00Z');
  const clock = { now: () => now };

  async function night(sources: readonly NightSource[], change: NightChange = {}): Promise<NightReport> {
    const { stream: wrapStream, store: wrapStore, ...rest } = change;
    const reader = await openEmbeddedReader({ directory: data, consumer: 'test', clock });
    const staging = openStaging(data);
    try {
      return await compact({
        clock,
        stream: wrapStream?.(reader) ?? reader,
        store: wrapStore?.(store) ?? store,
        prefix: '',
        dayPath: '%Y/%m/%d',
        lagSeconds: 3600,
        sources,
        recipients,
        signer,
        verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
        stagingDirectory: staging.directory,
        force: false,
        log: pino({ level: 'silent' }),
        progress: () => {},
        ...rest,
      });
    } finally {
      staging.remove();
      await reader.close();
    }
  }

  return {
    directory,
    archive,
    store,
    writer,
    identity,
    signingKey,
    at(time) {
      now = new Date(time);
    },
    now: () => now,
    deliver: (...records) => writer.append(records),
    night,
    ledger: () => loadLedger(store, '', new Map([[signer.keyId, { verify: signer.verify }]])),
    async manifest(number) {
      const bytes = await readWhole(store, `manifests/${String(number).padStart(8, '0')}.jsonl`);
      return JSON.parse(bytes.toString().split('\n')[0]!);
    },
    async lines(key) {
      const chunks = store.read(key);
      const plain = key.endsWith('.age') ? openPlaintext(chunks, parseIdentities(identity)) : unpack(chunks);
      const lines: string[] = [];
      for await (const line of linesOf(plain)) lines.push(line.toString());
      return lines;
    },
    async keys(prefix = '') {
      return Array.fromAsync(store.list(prefix));
    },
    async close() {
      await writer.close();
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A delivery of a Stripe event as ingest puts it on the stream. */
export function stripeRecord(
  body: string,
  options: { source?: string; receivedAt?: string; header?: Partial<EnvelopeHeader> } = {},
): AppendRecord {
  const { id, type, created, data } = JSON.parse(body);
  const time = typeof created === 'string' ? created : new Date(created * 1000).toISOString();
  const header: EnvelopeHeader = {
    id,
    source: `/stripe/${options.source ?? 'platform'}`,
    type,
    ...(typeof data?.object?.id === 'string' ? { subject: data.object.id } : {}),
    time,
    receivedat: options.receivedAt ?? time,
    via: 'webhook',
    scheme: 'stripe',
    signedheaders: 'stripe-signature: t=1,v1=00',
    path: `/webhooks/${options.source ?? 'platform'}`,
    keyid: '0123456789abcdef',
    ...options.header,
  };
  return { key: data?.object?.id ?? id, value: writeEnvelope(header, Buffer.from(body)) };
}

/** An event of another server, as ingest puts it on the stream. `time` undefined: none was claimed. */
export function eventRecord(
  element: string,
  options: {
    id: string;
    source?: string;
    time?: string;
    receivedAt: string;
    type?: string;
    header?: Partial<EnvelopeHeader>;
  },
): AppendRecord {
  const { id, source = 'billing', time, receivedAt, type = 'metric' } = options;
  const header: EnvelopeHeader = {
    id,
    source: `/events/${source}`,
    type,
    ...(time === undefined ? {} : { time }),
    receivedat: receivedAt,
    via: 'events',
    scheme: 'panda',
    signedheaders: 'x-gu-tools-hmac-date: a; x-gu-tools-hmac-token: b',
    path: '/events',
    keyid: '0123456789abcdef',
    ...options.header,
  };
  return { key: id, value: writeEnvelope(header, Buffer.from(element)) };
}

/** A source's list at the fake Stripe, by our own pager, without its waits. */
export function listingOf(
  stripe: FakeStripe,
  accounts: ListingSource['accounts'] = [],
  thinEvents = false,
): ListingSource {
  const api = openStripeApi({
    apiKey: stripe.apiKey,
    base: stripe.base,
    random: () => 0,
    sleep: async () => {},
    log: pino({ level: 'silent' }),
    monotonicMs: () => 0,
    maxTries: 3,
  });
  return { api, accounts, thinEvents, isOrganisation: isOrganisationKey(stripe.apiKey) };
}
