/** Legal holds in a bucket with Object Lock, on a real server (test/services/s3.sh): nobody deletes what is held. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectLegalHoldCommand,
  HeadObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { pino } from 'pino';
import { type HoldReport, holdArchive, holdNewObjects } from '../../../compactor/ledger/hold-archive.ts';
import { pruneArchive } from '../../../compactor/ledger/prune-archive.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { checkStore, openHolder, openRemover, openStore } from '../../../shared/store/open.ts';
import type { S3Params } from '../../../shared/store/s3/settings.ts';
import { bodyOf, type ObjectHolder } from '../../../shared/store/store.ts';
import { openEmbeddedReader } from '../../../shared/stream/embedded/embedded.ts';
import { faultyStore } from '../../faults/faulty.ts';
import { createBucket } from '../../services/s3-buckets.ts';
import { startService } from '../../services/service.ts';
import { eventsOf, signedRecord } from '../archive-under-test.ts';
import { type Books, openBooks } from '../books.ts';

const service = await startService<{ endpoint: string }>('s3.sh');
if (service !== undefined) {
  const { endpoint } = service.facts;
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true });
  const configuration = (params: S3Params) => ({ type: 's3', params }) as const;
  const lockedBucket = async (): Promise<S3Params> => {
    const params = { ...(await createBucket(endpoint)), bucket: `daybook-held-${Date.now()}` };
    await client.send(new CreateBucketCommand({ Bucket: params.bucket, ObjectLockEnabledForBucket: true }));
    return params;
  };
  let params: S3Params;
  let books: Books;
  /** Of two nights: the 18th and the 19th; their parts, ids and deliveries. */
  before(async () => {
    params = await lockedBucket();
    books = await openBooks({ store: (await openStore(configuration(params), '')).store });
    for (const day of ['2026-11-18', '2026-11-19']) await night(day, 3, '2026-11-21T03:00:00Z');
    books.at('2027-01-21T09:00:00Z');
  });
  after(async () => {
    client.destroy();
    await books.close();
    await service.stop();
  });

  async function night(day: string, count: number, now: string): Promise<void> {
    books.at(now);
    await books.deliver(...eventsOf(day, count, `${day} ${now}`).map((event) => signedRecord(event)));
    await books.night([{ name: 'platform' }]);
  }

  /** `holder`: wraps that of the bucket. */
  async function change(
    what: Parameters<typeof holdArchive>[2],
    wrap: (holder: ObjectHolder) => ObjectHolder = (holder) => holder,
    store = books.store,
  ): Promise<HoldReport> {
    const clock = { now: () => books.now() };
    const signer = readSigner(books.signingKey);
    const stream = await openEmbeddedReader({ directory: books.directory, consumer: 'test', clock });
    const holder = (await openHolder(configuration(params), ''))!;
    try {
      const place = { clock, store, prefix: '', verifyingKeys: new Map([[signer.keyId, signer]]) };
      const means = { signer, stream, holder: wrap(holder), configured: [] };
      return await holdArchive({ ...place, log: pino({ level: 'silent' }) }, means, what);
    } finally {
      await holder.close();
      await stream.close();
    }
  }

  /** Dies after so many: the next request and all after it are never sent. */
  const dyingAfter = (count: number) => (holder: ObjectHolder) => {
    let sent = 0;
    return {
      ...holder,
      set: async (key: string, isHeld: boolean) => {
        if (sent === count) throw new Error('died');
        sent += 1;
        return holder.set(key, isHeld);
      },
    };
  };

  const hold = (name: string, days: { from?: string; to?: string } = {}) => ({
    hold: { name, source: null, from: days.from ?? null, to: days.to ?? null, reason: 'case 17' },
  });

  /** The archive's objects whose legal hold is on, by the day in their name: how many. */
  async function heldByDay(): Promise<Record<string, number>> {
    const found: Record<string, number> = {};
    for (const Key of await books.keys('platform/')) {
      const sent = client.send(new GetObjectLegalHoldCommand({ Bucket: params.bucket, Key }));
      const status = await sent.then(
        ({ LegalHold }) => LegalHold?.Status,
        () => undefined,
      );
      const day = /\d{4}-\d\d-\d\d/.exec(Key)![0];
      if (status === 'ON') found[day] = (found[day] ?? 0) + 1;
    }
    return found;
  }

  test('hold sets it on what is held, nobody deletes that any more, and release ends it but where another hold is', async () => {
    const report = await change(hold('matter-17', { to: '2026-11-18' }));
    assert.deepEqual([report.manifest, report.days, report.inBucket], [3, 1, 3]);
    assert.deepEqual(await heldByDay(), { '2026-11-18': 3 });
    const [key] = await books.keys('platform/2026/11/18/');
    const { VersionId } = await client.send(new HeadObjectCommand({ Bucket: params.bucket, Key: key }));
    const deletion = new DeleteObjectCommand({ Bucket: params.bucket, Key: key, VersionId });
    await assert.rejects(client.send(deletion), { name: 'AccessDenied' });

    await change(hold('audit'));
    assert.deepEqual(await heldByDay(), { '2026-11-18': 3, '2026-11-19': 3 });
    assert.equal((await change({ release: 'audit' })).inBucket, 6);
    assert.deepEqual(await heldByDay(), { '2026-11-18': 3 });
    await change({ release: 'matter-17' });
    assert.deepEqual(await heldByDay(), {});
  });

  test('died between manifest and bucket: the hold is in force, and the same again sets the rest', async () => {
    const number = (await books.ledger()).head!.number + 1;
    await assert.rejects(change(hold('second'), dyingAfter(2)), { message: 'died' });
    assert.equal((await books.ledger()).held.get('second')?.manifest, number);
    assert.deepEqual(
      Object.values(await heldByDay()).reduce((sum, count) => sum + count, 0),
      2,
    );
    const again = await change(hold('second'));
    assert.deepEqual([again.manifest, again.inBucket], [number, 6]);
    assert.equal((await books.ledger()).head!.number, number);
    assert.deepEqual(await heldByDay(), { '2026-11-18': 3, '2026-11-19': 3 });
  });

  test('a release that dies before its manifest is in force still, and is repeated', async () => {
    await assert.rejects(change({ release: 'second' }, dyingAfter(4)), { message: 'died' });
    assert.equal((await books.ledger()).held.has('second'), true);
    const failing = faultyStore(books.store, (operation) => (operation === 'create' ? 'before' : undefined));
    await assert.rejects(change({ release: 'second' }, undefined, failing));
    assert.deepEqual([await heldByDay(), (await books.ledger()).held.has('second')], [{}, true]);
    assert.equal((await change({ release: 'second' })).inBucket, 6);
    assert.equal((await books.ledger()).held.size, 0);
  });

  test('a night that archives a held day sets it too, or says why not; prune leaves all of it', async () => {
    await change(hold('third', { to: '2026-11-18' }));
    await night('2026-11-18', 2, '2027-01-22T09:00:00Z');
    assert.deepEqual(await heldByDay(), { '2026-11-18': 3 });
    const said = await holdNewObjects(() => Promise.reject(new Error('away')), await books.ledger());
    assert.equal(said, 'away');
    // Nights after it do it for it.
    await night('2026-11-20', 1, '2027-01-23T09:00:00Z');
    assert.equal(await holdNewObjects(() => openHolder(configuration(params), ''), await books.ledger()), undefined);
    assert.deepEqual(await heldByDay(), { '2026-11-18': 6 });
    const remover = await openRemover(configuration(params), '');
    const signer = readSigner(books.signingKey);
    const report = await pruneArchive({
      ...{ clock: { now: () => books.now() }, store: books.store, prefix: '', log: pino({ level: 'silent' }) },
      ...{ ages: { eventDays: 31, evidenceDays: 31 }, progress: () => {} },
      verifyingKeys: new Map([[signer.keyId, signer]]),
      apply: { remover, signer, stream: undefined },
    });
    await remover.close();
    assert.deepEqual([report.held, report.failures, report.hidden > 0], [4, [], true]);
    assert.deepEqual(await heldByDay(), { '2026-11-18': 6 });
  });

  test('a bucket without Object Lock holds nothing, and doctor says which it is', async () => {
    const without = await createBucket(endpoint);
    assert.equal(await openHolder(configuration(without), ''), undefined);
    assert.equal(await openHolder({ type: 'directory' }, books.directory), undefined);
    const said = async (given: S3Params) =>
      (await checkStore(configuration(given), '')).map(({ status, message }) => `${status} ${message}`).at(-1);
    assert.match(
      (await said(without))!,
      /^ok the bucket has no Object Lock: a legal hold keeps daybook from deleting, and nobody else$/,
    );
    assert.equal(await said(params), 'ok the bucket has Object Lock: objects are kept by legal holds alone');
    const retention = { mode: 'GOVERNANCE', days: 40 } as const;
    assert.equal(await said({ ...params, retention }), 'ok the bucket has Object Lock: governance, 40 days');
    assert.match(
      (await said({ ...without, retention }))!,
      /^problem .* has no Object Lock, and `retention` asks for it$/,
    );
  });

  test('with `retention` each upload carries it, a short one and a multipart one', async () => {
    const retention = { mode: 'GOVERNANCE', days: 40 } as const;
    const { store } = await openStore(configuration({ ...params, retention }), '');
    for (const [Key, bytes] of [
      ['kept/short', 5],
      ['kept/long', 9 * 1024 * 1024],
    ] as const) {
      assert.equal(await store.create(Key, bodyOf(Buffer.alloc(bytes))), 'created');
      const head = await client.send(new HeadObjectCommand({ Bucket: params.bucket, Key }));
      const days = (head.ObjectLockRetainUntilDate!.getTime() - Date.now()) / 86_400_000;
      assert.deepEqual([head.ObjectLockMode, Math.round(days)], ['GOVERNANCE', 40]);
      const deletion = new DeleteObjectCommand({ Bucket: params.bucket, Key, VersionId: head.VersionId });
      await assert.rejects(client.send(deletion), { name: 'AccessDenied' });
    }
    await store.close();
  });
}
