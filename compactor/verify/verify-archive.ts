/**
 * Whether an archive is what its manifests say: the chain, the objects, the ids and the counts with the public keys
 * alone; with a private key also every line, and with the senders' secrets every delivery. Reads only.
 */

import type { Day } from '../../shared/clock.ts';
import type { Identities } from '../../shared/crypto/identities.ts';
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError } from '../../shared/errors.ts';
import { inParallel } from '../../shared/parallel.ts';
import { counted } from '../../shared/program/counted.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { Witnesses } from '../anchors/anchor-ledger.ts';
import { describeHold } from '../ledger/holds.ts';
import type { DayState } from '../ledger/ledger.ts';
import { anchorsFolder, type Hashes, manifestKey, type Verdict } from '../ledger/manifest.ts';
import { openPrunedLookup } from '../ledger/pruned-objects.ts';
import { unknownSource } from '../ledger/unknown-source.ts';
import { openSortBudget } from '../staging/external-sort.ts';
import { type Break, openBreaks } from './breaks.ts';
import type { SecretsOfSources } from './check-delivery.ts';
import { type AnchorsFound, verifyAnchors, type Witnessed } from './verify-anchors.ts';
import { type Chain, walkChain } from './verify-chain.ts';
import { type DeliveryCounts, isOpened, named, readIds, type Verification, verifyDay } from './verify-day.ts';
import { openIdRegister } from './verify-ids.ts';
import { quarantineChecker } from './verify-lines.ts';
import { bytesAlone, checkObject, sealedLines } from './verify-object.ts';
import type { VerifyResume } from './verify-resume.ts';

export interface ArchiveToVerify {
  readonly store: ObjectStore;
  /** '' or folders that end in a slash. */
  readonly prefix: string;
  readonly verifyingKeys: VerifyingKeys;
  /** Opens what is sealed; undefined: it stays sealed. */
  readonly identities?: Identities | undefined;
  /** Checks the signatures of deliveries, which needs the identities; undefined: they are not looked at. */
  readonly secrets?: SecretsOfSources | undefined;
  /** What is looked into beside the chain of manifests, which always is; undefined: everything. */
  readonly only?: { readonly sources: readonly string[]; readonly days: readonly Day[] } | undefined;
  /** A manifest that the chain must hold, as it was told when it was written; undefined: none. */
  readonly expectHead?: { readonly number: number; readonly sha256: string } | undefined;
  /** Who has seen the archive from outside; undefined: nobody's word is believed. */
  readonly witnesses?: Witnesses | undefined;
  /** An archive without any manifest is a new one, and no fault. */
  readonly allowEmpty?: boolean;
  /** What an interrupted verification has proven already, and the memory of this one; undefined: none. */
  readonly resume?: VerifyResume | undefined;
  /** An empty folder for sorting ids, removed by the caller. */
  readonly temporaryDirectory: string;
  progress(step: string, count: number, total?: number): void;
}

/** `verify --json`. Lists are bounded; what they leave out is counted. */
export interface ArchiveReport {
  /** Whether there is no break. */
  readonly ok: boolean;
  /** Those whose signature and place hold. */
  readonly manifests: number;
  /** Those that the manifests name, of what was looked into. */
  readonly objects: number;
  readonly days: readonly VerifiedDay[];
  /** In the order of the manifests: the first is the first break. */
  readonly breaks: readonly Break[];
  readonly breaksOmitted: number;
  /** What is worth knowing and no fault. */
  readonly information: readonly Information[];
  readonly deliveries: DeliveryCounts;
  /** The newest manifest that a witness outside has seen; null: none, or none that is believed. */
  readonly witnessed: Witnessed | null;
}

export interface VerifiedDay {
  readonly source: string;
  readonly day: Day;
  readonly verdict: Verdict;
  readonly events: number;
  readonly breaks: number;
  /** How many of its objects are pruned by a manifest: gone, or about to be. */
  readonly pruned: number;
}

export interface Information {
  readonly code:
    | 'newest_manifest'
    | 'witnessed'
    | 'witness_unknown'
    | 'held'
    | 'not_opened'
    | 'orphan'
    | 'other_file'
    | 'secret_unknown'
    | 'incomplete_day'
    | 'pruned'
    | 'limited'
    | 'resumed'
    | 'not_read';
  readonly key: string | null;
  readonly message: string;
}

/** For ids in memory; what is beyond goes to the temporary folder. */
const sortBytes = 32 * 1024 * 1024;
/** While one waits for the store another is hashed; more would want more memory and no less time. */
const daysAtOnce = 4;
const maxNamed = 100;

/** Rejects where the store fails, which is not a fault of the archive; with `usage` where `only` leaves nothing to look into. */
export async function verifyArchive(archive: ArchiveToVerify): Promise<ArchiveReport> {
  const { store, prefix, verifyingKeys, identities, secrets, temporaryDirectory, resume, progress } = archive;
  const breaks = openBreaks();
  const chain = await walkChain(store, prefix, verifyingKeys, breaks);
  if (chain.ledger.head === undefined && chain.isWhole && archive.allowEmpty !== true) {
    const message = 'there is no manifest: an archive that was there is gone, or this is the wrong place';
    breaks.add({ code: 'archive_empty', manifest: 1, key: manifestKey(prefix, 1), message });
  }
  const { expectHead } = archive;
  if (expectHead !== undefined && chain.ledger.hashes[expectHead.number - 1] !== expectHead.sha256) {
    const found = chain.ledger.hashes[expectHead.number - 1];
    const message = `is expected with SHA-256 ${expectHead.sha256}, and ${found === undefined ? 'is not in the chain' : `has ${found}`}`;
    const { number } = expectHead;
    breaks.add({ code: 'head_unexpected', manifest: number, key: manifestKey(prefix, number), message });
  }
  const anchors = await verifyAnchors(archive, chain, breaks);
  const resumed = resume?.begin(chain.ledger.head, chain.ledger.hashes);

  const budget = openSortBudget({ directory: temporaryDirectory, maxBytes: sortBytes });
  const register = openIdRegister(budget);
  const days = daysOf(chain, archive.only);
  const quarantine = archive.only === undefined ? chain.quarantine : [];
  const objects = [...days.flatMap(({ state }) => objectsOf(state)), ...quarantine.map(sealedObject)];
  const keyOf = new Map(objects.map(({ key, sha256 }) => [sha256, key]));
  let read = 0;
  let events = 0;
  let opened = 0;
  const verification: Verification = {
    store,
    identities,
    secrets,
    budget,
    breaks,
    register,
    otherKeyOf: (sha256) => keyOf.get(sha256),
    isPruned: openPrunedLookup(store, prefix, verifyingKeys, chain.ledger),
    read() {
      read += 1;
      progress('objects read', read, objects.length);
    },
    opened() {
      opened += 1;
    },
    readEvent() {
      events += 1;
      if (events % 10_000 === 0) progress('events read', events);
    },
  };
  const deliveries: DeliveryCounts = { checked: 0, failed: 0, unknownSecret: 0 };
  await inParallel(days, daysAtOnce, async ({ source, day, state }) => {
    const count = objectsOf(state).length;
    const known = resume?.proofOf(source, day, count);
    const proof = known ?? (await verifyDay(verification, source, day, state));
    if (known !== undefined) await readIds(verification, source, day, state);
    else if (breaks.countOf(source, day) === 0) resume?.proven(source, day, count, proof);
    if (proof.hasCloudEvents) register.hasCloudEvents(source);
    deliveries.checked += proof.deliveries.checked;
    deliveries.failed += proof.deliveries.failed;
    deliveries.unknownSecret += proof.deliveries.unknownSecret;
  });
  await inParallel(quarantine, daysAtOnce, (object) => verifyQuarantined(verification, object));
  if (identities !== undefined && opened === 0 && breaks.list().some(({ code }) => code === 'sealed_unreadable')) {
    // The archive may be as it should be: it is the wrong key.
    const detail = 'The identity opens no object of this archive';
    throw new DaybookError('sealed_unreadable', { detail, hint: 'Give the private key of one of its recipients.' });
  }
  register.refuseRepeated(breaks);
  register.close();

  const found = breaks.list();
  const named = new Set(objects.map(({ key }) => key));
  return {
    ok: found.length === 0,
    manifests: chain.ledger.head?.number ?? 0,
    objects: objects.length,
    days: days.map(({ source, day, state }) => ({
      source,
      day,
      verdict: state.verdict,
      events: state.counts.delivered + state.counts.recovered,
      breaks: breaks.countOf(source, day),
      pruned: objectsOf(state).filter(({ key }) => chain.ledger.pruned.has(key)).length,
    })),
    breaks: found,
    breaksOmitted: breaks.omitted(),
    information: [
      ...incompleteDays(days),
      ...deliveriesUnknown(deliveries),
      ...(archive.only === undefined ? await unnamedObjects(archive, chain, named, found.length === 0) : [limitation]),
      ...anchors.strays.map((key) => ({ code: 'other_file' as const, key, message: 'is not of daybook' })),
      ...resumption(resumed),
      ...testimony(anchors),
      ...[...chain.ledger.held.values()].map((hold) => ({
        ...{ code: 'held' as const, key: null },
        message: `held since manifest ${hold.manifest}, ${describeHold(hold)}`,
      })),
      ...limits(chain, identities),
    ],
    deliveries,
    witnessed: anchors.newest ?? null,
  };
}

function testimony({ newest, held, unknown }: AnchorsFound): Information[] {
  const found: Information[] = [];
  if (newest !== undefined) {
    const { number, at, by } = newest;
    const message = `manifest ${number} is the newest that was witnessed: by ${by}, at ${at}; ${counted(held, 'anchor', ' holds', 's hold')}`;
    found.push({ code: 'witnessed', key: null, message });
  }
  if (unknown > 0) {
    const message = `${counted(unknown, 'anchor')} of witnesses that COMPACTOR_TIMESTAMPS and COMPACTOR_WITNESSES do not name: not checked`;
    found.push({ code: 'witness_unknown', key: null, message });
  }
  return found;
}

interface StatedDay {
  readonly source: string;
  readonly day: Day;
  readonly state: DayState;
}

function daysOf({ ledger, isWhole }: Chain, only: ArchiveToVerify['only']): StatedDay[] {
  const { sources = [], days = [] } = only ?? {};
  const isWanted = ({ source, day }: StatedDay) =>
    (sources.length === 0 || sources.includes(source)) && (days.length === 0 || days.includes(day));
  const found = [...ledger.sources]
    .flatMap(([source, states]) => [...states].map(([day, state]) => ({ source, day, state })))
    .filter(isWanted);
  // Of a chain that is broken nothing is known to be not there.
  if (isWhole) {
    const other = sources.find((source) => !ledger.sources.has(source));
    if (other !== undefined) throw unknownSource(other, ledger);
    const absent = days.find((day) => !found.some((f) => f.day === day));
    if (absent !== undefined) throw new DaybookError('usage', { detail: `the archive has no entry of ${absent}` });
  }
  const name = ({ source, day }: StatedDay) => `${source} ${day}`;
  return found.sort((a, b) => (name(a) < name(b) ? -1 : 1));
}

function objectsOf({ parts, lateDeliveries, exceptions }: DayState): { key: string; sha256: string }[] {
  return [
    ...parts.map(sealedObject),
    ...parts.flatMap(({ deliveries }) => (deliveries === null ? [] : [sealedObject(deliveries)])),
    ...lateDeliveries.map(sealedObject),
    ...exceptions.map(sealedObject),
    ...parts.map(({ ids }) => ids),
  ];
}

function sealedObject({ key, sha256 }: { readonly key: string; readonly sha256: Hashes }) {
  return { key, sha256: sha256.ciphertext };
}

async function verifyQuarantined(
  { store, identities, breaks, otherKeyOf, read, opened }: Verification,
  { manifest, key, records, sha256 }: Chain['quarantine'][number],
): Promise<void> {
  const expected = { plaintext: sha256.plaintext, lines: records };
  const readContent = identities === undefined ? bytesAlone : sealedLines(identities, expected, quarantineChecker);
  const object = { manifest, key, sha256: sha256.ciphertext };
  const found = await checkObject(store, object, otherKeyOf, named(key, sha256.plaintext, readContent));
  for (const finding of found) breaks.add({ ...finding, manifest, key });
  if (identities !== undefined && isOpened(key, found)) opened();
  read();
}

function incompleteDays(days: readonly StatedDay[]): Information[] {
  return days
    .filter(({ state }) => state.verdict === 'incomplete')
    .map(({ source, day, state: { missing, generationFailures } }) => {
      // What Stripe never generated has no id: it is told by its type and object, or by the notice.
      const failed = generationFailures.map(({ notice, eventType, object }) =>
        eventType === null ? `the one of notice ${notice}` : `${eventType} of ${object ?? 'an unknown object'}`,
      );
      const lacking = [...missing, ...failed];
      const named = `${lacking.slice(0, 3).join(', ')}${lacking.length > 3 ? ' …' : ''}`;
      const message = `${source} ${day} lacks ${counted(lacking.length, 'event')} known of: ${named}`;
      return { code: 'incomplete_day', key: null, message };
    });
}

function deliveriesUnknown({ unknownSecret }: DeliveryCounts): Information[] {
  if (unknownSecret === 0) return [];
  const message = `${unknownSecret} deliveries are signed with secrets that were not given: not checked`;
  return [{ code: 'secret_unknown', key: null, message }];
}

/** `<day>-<hash16>[-n].jsonl.gz.age` and its like: written by a run that died, or that lost its manifest to another. */
const objectName = /(?:^|[-/])[0-9a-f]{16}(?:-\d+)?\.(?:(?:deliveries\.|exceptions\.)?jsonl\.gz\.age|ids\.gz)$/;

/** What backup-secrets puts beside the archive, and what workers say to each other. */
const besideName = /^(?:secrets\/[\w-]+\.tar\.age$|workers\/\d{8}\/\d{4}\/\d+-)/;

async function unnamedObjects(
  { store, prefix }: ArchiveToVerify,
  { ledger: { pruned }, isWhole, strays }: Chain,
  known: ReadonlySet<string>,
  isSound: boolean,
): Promise<Information[]> {
  const found = { orphan: openBounded(), other_file: openBounded() };
  for (const key of strays) found.other_file.add(key);
  let left = 0;
  for await (const key of store.list(prefix)) {
    if (pruned.has(key)) left += 1;
    if (besideName.test(key.slice(prefix.length))) continue;
    if (known.has(key) || isLedgers(key.slice(prefix.length))) continue;
    found[objectName.test(key) ? 'orphan' : 'other_file'].add(key);
  }
  // With a break nobody knows: the manifest that named it may be gone.
  const cause = isSound ? ': left by a run that died' : '';
  const orphan = isWhole ? `no manifest names it${cause}` : 'no manifest that could be trusted names it';
  return [
    ...prunedObjects(pruned.size, left),
    ...found.orphan.list().map((key) => ({ code: 'orphan' as const, key, message: orphan })),
    ...found.orphan.omitted((count) => ({ code: 'orphan', key: null, message: `${count} more orphans` })),
    ...found.other_file.list().map((key) => ({ code: 'other_file' as const, key, message: 'is not of daybook' })),
    ...found.other_file.omitted((count) => ({ code: 'other_file', key: null, message: `${count} more other files` })),
  ];
}

/** Of these what is strange is told where they are looked at. */
const isLedgers = (name: string) => name.startsWith('manifests/') || name.startsWith(anchorsFolder);

function prunedObjects(count: number, left: number): Information[] {
  if (count === 0) return [];
  const more =
    left === 0 ? '' : `; ${left} of them are still there: \`node compactor/main.ts prune --apply\` deletes them`;
  return [
    {
      code: 'pruned',
      key: null,
      message: `${counted(count, 'object')} ${count === 1 ? 'is' : 'are'} pruned, as manifests say${more}`,
    },
  ];
}

const limitation: Information = {
  code: 'limited',
  key: null,
  message:
    'of the days asked for alone: whether an event is archived twice was looked for among them, orphans were not',
};

function resumption(resumed: ReturnType<VerifyResume['begin']> | undefined): Information[] {
  const say = (message: string): Information[] => [{ code: 'resumed', key: null, message }];
  if (resumed?.refused !== undefined) return say(`begun again, for what was to be resumed ${resumed.refused}`);
  if (resumed === undefined || resumed.days === 0) return [];
  return say(
    `${counted(resumed.days, 'day')} ${resumed.days === 1 ? 'was' : 'were'} proven before the interruption; their ids alone were read again`,
  );
}

function openBounded() {
  const kept: string[] = [];
  let more = 0;
  return {
    add(key: string): void {
      if (kept.length < maxNamed) kept.push(key);
      else more += 1;
    },
    list: () => kept,
    omitted: (say: (count: number) => Information): Information[] => (more === 0 ? [] : [say(more)]),
  };
}

/** What this verification could not see. */
function limits({ ledger, isWhole }: Chain, identities: Identities | undefined): Information[] {
  const number = ledger.head?.number ?? 0;
  const found: Information[] = [];
  if (!isWhole) {
    found.push({ code: 'not_read', key: null, message: `the manifests after number ${number} were not relied on` });
  } else {
    // Kinesis keeps no positions; its streams are named by their ARN.
    const keepsPositions = ledger.stream !== undefined && !ledger.stream.id.startsWith('arn:');
    const others = keepsPositions
      ? ", nor could verify; `node compactor/main.ts run` would where the stream's committed positions are ahead (ledger_behind). What `run --json` and `list --json` told as head proves it: --expect-head"
      : ', and nothing else here could. What `run --json` and `list --json` told as head proves it: --expect-head';
    const message = `manifest ${number} is the newest here${ledger.head === undefined ? ': there is none' : `, of ${ledger.head.createdAt}`}. Were newer ones deleted, the chain alone could not tell${others}`;
    found.push({ code: 'newest_manifest', key: null, message });
  }
  if (identities === undefined && number > 0) {
    found.push({ code: 'not_opened', key: null, message: 'without --identity what is sealed was hashed, not opened' });
  }
  return found;
}
