/**
 * The main job on every stream and every store, by the two programs as a user starts them: signed events in, some of
 * them twice, some never; the night; a second night; verify with the private key. The time is the real one.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newestClosedDay } from '../../compactor/day/closing.ts';
import type { NightReport } from '../../compactor/night.ts';
import type { ArchiveReport } from '../../compactor/verify/verify-archive.ts';
import { makeDevelopmentFiles } from '../../deploy/scripts/development-values.ts';
import { type Day, dayOf } from '../../shared/clock.ts';
import { readSettings } from '../../shared/config.ts';
import { type Identities, parseIdentities } from '../../shared/crypto/identities.ts';
import { linesOf, openPlaintext } from '../../shared/crypto/open-sealed.ts';
import { openStore } from '../../shared/store/open.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { openPrograms, type Programs } from '../demo/programs.ts';
import { sendDelivery } from '../demo/send-delivery.ts';
import { type Delivery, makeTraffic, type Traffic } from '../demo/traffic.ts';
import { createStream, openKinesis } from '../services/kinesis-streams.ts';
import { createBucket } from '../services/s3-buckets.ts';
import { openService, type Service } from '../services/service.ts';
import { newTopicName } from '../shared/stream/kafka/kafka-under-test.ts';
import { listedCopy } from '../stripe/events.ts';
import { startFakeStripe } from '../stripe/fake-stripe.ts';

const lagSeconds = 3600;
const senders = 8;
const secrets = { platform: 'whsec_of_the_matrix', billing: 'secret of billing' };

/** A stream or a store, fresh for one cell; `missing` says why there is none. */
interface Choice {
  readonly name: string;
  readonly missing?: string;
  /** The value of DAYBOOK_STREAM or DAYBOOK_STORE. */
  make(): Promise<object>;
}

const [kafka, kinesis, s3] = await Promise.all([
  openService<{ readonly broker: string }>('kafka.sh'),
  openService<{ readonly endpoint: string }>('kinesis.sh'),
  openService<{ readonly endpoint: string }>('s3.sh'),
]);
after(async () => {
  for (const service of [kafka, kinesis, s3]) if (typeof service !== 'string') await service.stop();
});

const streams: readonly Choice[] = [
  { name: 'embedded', make: async () => ({ type: 'embedded' }) },
  onService('Kafka', kafka, async ({ broker }) => {
    const create = { partitions: 3, replicationFactor: 1 };
    return { type: 'kafka', params: { brokers: [broker], topic: newTopicName(), create } };
  }),
  onService('Kinesis', kinesis, async ({ endpoint }) => {
    const client = openKinesis(endpoint);
    const streamName = await createStream(client);
    client.destroy();
    return { type: 'kinesis', params: { streamName, endpoint, region: 'us-east-1' } };
  }),
];
const stores: readonly Choice[] = [
  { name: 'a directory', make: async () => ({ type: 'directory' }) },
  onService('S3', s3, async ({ endpoint }) => ({ type: 's3', params: await createBucket(endpoint) })),
];

function onService<Facts>(name: string, service: Service<Facts> | string, make: (facts: Facts) => Promise<object>) {
  if (typeof service === 'string') return { name, missing: service, make: async () => ({}) };
  return { name, make: () => make(service.facts) };
}

for (const stream of streams) {
  for (const store of stores) {
    const missing = [stream.missing, store.missing].filter((reason) => reason !== undefined).join(', ');
    const skip = missing === '' ? false : `${missing} (REQUIRE_SERVICES=1 installs it)`;
    test(
      `from ${stream.name} to ${store.name}: every event once, what was never delivered recovered, all of it verified`,
      {
        skip,
      },
      () => assertCell(stream, store),
    );
  }
}

async function assertCell(stream: Choice, store: Choice): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-matrix-'));
  const stripe = await startFakeStripe();
  const keys = await makeDevelopmentFiles(folder);
  const sources = [
    { name: 'platform', scheme: 'stripe', secrets: [secrets.platform], apiKey: stripe.apiKey },
    { name: 'billing', scheme: 'panda', secrets: [secrets.billing] },
  ];
  await writeFile(join(folder, 'sources.json'), JSON.stringify(sources));
  const settings = {
    DAYBOOK_DATA_DIR: folder,
    DAYBOOK_SOURCES: 'sources.json',
    DAYBOOK_STREAM: JSON.stringify(await stream.make()),
    DAYBOOK_STORE: JSON.stringify(await store.make()),
    STRIPE_API_BASE: stripe.base.href,
    INGEST_PORT: '0',
    INGEST_ADMIN_PORT: '0',
    COMPACTOR_RECIPIENTS: keys.recipient,
    COMPACTOR_SIGNING_KEY_FILE: keys.signingKey,
    COMPACTOR_LAG_SECONDS: `${lagSeconds}`,
  };
  const programs = openPrograms(folder, settings);
  const newest = newestClosedDay(new Date(), lagSeconds);
  const traffic = makeTraffic(`${stream.name} ${store.name}`, newest, Date.now());
  for (const { text } of traffic.account) stripe.add(listedCopy(text));
  try {
    const url = await programs.startIngest();
    await deliverAll(traffic.deliveries, url);
    assert.equal(await programs.stopIngest(), 0);

    const before = calendar();
    const night = await programs.compactor<NightReport>(['run']);
    assert.deepEqual([night.manifest, night.errors, night.warnings], [1, [], []]);
    assertCounts(night, traffic);
    await assertNothingLeft(programs, before);

    const check = ['verify', '--identity', keys.identity, '--secrets', 'sources.json'];
    const verified = await programs.compactor<ArchiveReport>(check);
    assert.deepEqual([verified.ok, verified.breaks], [true, []]);
    assert.deepEqual([verified.deliveries.failed, verified.deliveries.unknownSecret], [0, 0]);
    const deliveries = [...traffic.expected.values()].reduce((sum, day) => sum + day.delivered + day.duplicates, 0);
    assert.ok(verified.deliveries.checked >= deliveries, 'each delivery can be checked again');

    const configuration = readSettings(settings, ['DAYBOOK_STORE']);
    const opened = await openStore(configuration.DAYBOOK_STORE, folder);
    const identities = parseIdentities(await readFile(keys.identity, 'utf8'));
    for (const source of ['platform', 'billing'] as const) {
      const parts = night.days
        .filter((day) => day.source === source && day.day <= newest)
        .flatMap(({ parts }) => parts);
      const archived = await eventsOf(opened.store, parts, identities);
      assert.deepEqual(
        archived.toSorted(),
        sentEvents(traffic, source, newest).toSorted(),
        `every event of ${source} once`,
      );
    }
    await opened.store.close();
  } finally {
    await programs.stopIngest();
    await stripe.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Sends everything, some at a time; each is answered as it deserves. */
async function deliverAll(deliveries: readonly Delivery[], url: URL): Promise<void> {
  const waiting = [...deliveries];
  const send = async () => {
    for (let delivery = waiting.shift(); delivery !== undefined; delivery = waiting.shift()) {
      const { status, body } = await sendDelivery(delivery, url, secrets);
      assert.equal(status, delivery.kind === 'forged' ? 400 : delivery.to === 'billing' ? 201 : 200, body);
    }
  };
  await Promise.all(Array.from({ length: senders }, send));
}

/** When it changes, a night has something to write by the time alone. */
const calendar = () => `${dayOf(Date.now())} ${newestClosedDay(new Date(), lagSeconds)}`;

/** Of the newest manifest. */
type Head = { readonly number: number; readonly sha256: string } | null;

/** A night that follows one of the same calendar writes nothing; where a day began or closed meanwhile, the next does. */
async function assertNothingLeft(programs: Programs, firstBegan: string): Promise<void> {
  for (let before = firstBegan; ; ) {
    const began = calendar();
    const night = await programs.compactor<NightReport & { head: Head }>(['run']);
    if (calendar() === before) {
      const { head, ...said } = night;
      assert.deepEqual(said, { manifest: null, days: [], errors: [], warnings: [] });
      assert.ok(head !== null && head.number >= 1);
      return;
    }
    before = began;
  }
}

function assertCounts(night: NightReport, { expected }: Traffic): void {
  for (const [sourceAndDay, counts] of expected) {
    const found = night.days.find(({ source, day }) => `${source} ${day}` === sourceAndDay)?.counts;
    assert.deepEqual(
      { delivered: found?.delivered, recovered: found?.recovered, duplicates: found?.duplicates },
      counts,
      sourceAndDay,
    );
  }
}

/** What tells an event from every other: its id, or the invoice that a billing event is about. */
async function eventsOf(store: ObjectStore, parts: readonly string[], identities: Identities): Promise<string[]> {
  const found: string[] = [];
  for (const key of parts) {
    for await (const line of linesOf(openPlaintext(store.read(key), identities))) {
      const event = JSON.parse(line.toString());
      found.push(event.object === 'event' ? event.id : event.data.tags.invoice);
    }
  }
  return found;
}

/** The same of what was to be archived: the whole account, and all that the billing server sent. */
function sentEvents({ account, deliveries }: Traffic, source: 'platform' | 'billing', newest: Day): string[] {
  if (source === 'platform') {
    return account.filter(({ createdSeconds }) => dayOf(createdSeconds * 1000) <= newest).map(({ id }) => id);
  }
  const sent = deliveries.filter(({ to, kind }) => to === 'billing' && kind === 'first');
  return sent
    .flatMap(({ body }) => [JSON.parse(body)].flat())
    .filter(({ eventTime }) => dayOf(Date.parse(eventTime)) <= newest)
    .map(({ tags }) => tags.invoice as string);
}
