/**
 * Whether an archive is what its manifests say: the chain, the objects, the ids and the counts with the public keys
 * alone; with a private key also every line, and with the senders' secrets every delivery. Reads only.
 */
import type { Day } from '../shared/clock.ts';
import type { Identities } from '../shared/crypto/identities.ts';
import type { VerifyingKeys } from '../shared/crypto/signing.ts';
import type { ObjectStore } from '../shared/store/store.ts';
import { type Break, openBreaks } from './breaks.ts';
import type { SecretsOfSources } from './check-delivery.ts';
import { openSortBudget } from './external-sort.ts';
import type { DayState } from './ledger.ts';
import type { Verdict } from './manifest.ts';
import { type Chain, walkChain } from './verify-chain.ts';
import { type DeliveryCounts, named, type Verification, verifyDay } from './verify-day.ts';
import { openIdRegister } from './verify-ids.ts';
import { quarantineChecker } from './verify-lines.ts';
import { bytesAlone, checkObject, sealedLines } from './verify-object.ts';

export interface ArchiveToVerify {
  readonly store: ObjectStore;
  /** '' or folders that end in a slash. */
  readonly prefix: string;
  readonly verifyingKeys: VerifyingKeys;
  /** Opens what is sealed; undefined: it stays sealed. */
  readonly identities?: Identities | undefined;
  /** Checks the signatures of deliveries, which needs the identities; undefined: they are not looked at. */
  readonly secrets?: SecretsOfSources | undefined;
  /** An empty folder for sorting ids, removed by the caller. */
  readonly temporaryDirectory: string;
  progress(step: string, count: number): void;
}

/** `verify --json`. Lists are bounded; what they leave out is counted. */
export interface ArchiveReport {
  /** Whether there is no break. */
  readonly ok: boolean;
  /** Those whose signature and place hold. */
  readonly manifests: number;
  /** Those that the manifests name. */
  readonly objects: number;
  readonly days: readonly VerifiedDay[];
  /** In the order of the manifests: the first is the first break. */
  readonly breaks: readonly Break[];
  readonly breaksOmitted: number;
  /** What is worth knowing and no fault. */
  readonly information: readonly Information[];
  readonly deliveries: DeliveryCounts;
}

export interface VerifiedDay {
  readonly source: string;
  readonly day: Day;
  readonly verdict: Verdict;
  readonly events: number;
  readonly breaks: number;
}

export interface Information {
  readonly code:
    | 'newest_manifest'
    | 'not_opened'
    | 'orphan'
    | 'other_file'
    | 'secret_unknown'
    | 'incomplete_day'
    | 'not_read';
  readonly key: string | null;
  readonly message: string;
}

/** For ids in memory; what is beyond goes to the temporary folder. */
const sortBytes = 32 * 1024 * 1024;
const maxNamed = 100;

/** Rejects where the store fails, which is no fault of the archive. */
export async function verifyArchive(archive: ArchiveToVerify): Promise<ArchiveReport> {
  const { store, prefix, verifyingKeys, identities, secrets, temporaryDirectory, progress } = archive;
  const breaks = openBreaks();
  const chain = await walkChain(store, prefix, verifyingKeys, breaks);

  const budget = openSortBudget({ directory: temporaryDirectory, maxBytes: sortBytes });
  const register = openIdRegister(budget);
  const objects = objectsOf(chain);
  const keyOf = new Map(objects.map(({ key, sha256 }) => [sha256, key]));
  let read = 0;
  let events = 0;
  const verification: Verification = {
    store,
    identities,
    secrets,
    budget,
    breaks,
    register,
    deliveries: { checked: 0, failed: 0, unknownSecret: 0 },
    otherKeyOf: (sha256) => keyOf.get(sha256),
    read() {
      read += 1;
      progress('objects read', read);
    },
    readEvent() {
      events += 1;
      if (events % 10_000 === 0) progress('events read', events);
    },
  };
  const days = daysOf(chain);
  for (const { source, day, state } of days) await verifyDay(verification, source, day, state);
  await verifyQuarantine(verification, chain);
  register.refuseRepeated(breaks);
  register.close();

  const found = breaks.list();
  return {
    ok: found.length === 0,
    manifests: chain.ledger.head?.number ?? 0,
    objects: objects.length,
    days: days.map(({ source, day, state: { verdict, counts } }) => ({
      source,
      day,
      verdict,
      events: counts.delivered + counts.recovered,
      breaks: breaks.countOf(source, day),
    })),
    breaks: found,
    breaksOmitted: breaks.omitted(),
    information: [
      ...incompleteDays(days),
      ...deliveriesUnknown(verification),
      ...(await unnamedObjects(archive, chain, new Set(objects.map(({ key }) => key)))),
      ...limits(chain, identities),
    ],
    deliveries: verification.deliveries,
  };
}

function daysOf({ ledger }: Chain): { source: string; day: Day; state: DayState }[] {
  const days = [...ledger.sources].flatMap(([source, states]) =>
    [...states].map(([day, state]) => ({ source, day, state })),
  );
  const name = ({ source, day }: { source: string; day: Day }) => `${source} ${day}`;
  return days.sort((a, b) => (name(a) < name(b) ? -1 : 1));
}

function objectsOf({ ledger, quarantine }: Chain): { key: string; sha256: string }[] {
  const states = [...ledger.sources.values()].flatMap((days) => [...days.values()]);
  const sealed = [
    ...states.flatMap(({ parts }) => parts),
    ...states.flatMap(({ parts }) => parts.flatMap(({ deliveries }) => deliveries ?? [])),
    ...states.flatMap(({ lateDeliveries }) => lateDeliveries),
    ...quarantine,
  ];
  return [
    ...sealed.map(({ key, sha256 }) => ({ key, sha256: sha256.ciphertext })),
    ...states.flatMap(({ parts }) => parts.map(({ ids }) => ids)),
  ];
}

async function verifyQuarantine(
  { store, identities, breaks, otherKeyOf, read }: Verification,
  { quarantine }: Chain,
): Promise<void> {
  for (const { manifest, key, records, sha256 } of quarantine) {
    const expected = { plaintext: sha256.plaintext, lines: records };
    const readContent = identities === undefined ? bytesAlone : sealedLines(identities, expected, quarantineChecker);
    const object = { manifest, key, sha256: sha256.ciphertext };
    const found = await checkObject(store, object, otherKeyOf, named(key, sha256.plaintext, readContent));
    for (const finding of found) breaks.add({ ...finding, manifest, key });
    read();
  }
}

function incompleteDays(days: readonly { source: string; day: Day; state: DayState }[]): Information[] {
  return days
    .filter(({ state }) => state.verdict === 'incomplete')
    .map(({ source, day, state: { missing, generationFailures } }) => {
      // What Stripe never generated has no id: it is told by its type and object, or by the notice.
      const failed = generationFailures.map(({ notice, eventType, object }) =>
        eventType === null ? `the one of notice ${notice}` : `${eventType} of ${object ?? 'an unknown object'}`,
      );
      const lacking = [...missing, ...failed];
      const named = `${lacking.slice(0, 3).join(', ')}${lacking.length > 3 ? ' …' : ''}`;
      const message = `${source} ${day} lacks ${lacking.length} events that are known of: ${named}`;
      return { code: 'incomplete_day', key: null, message };
    });
}

function deliveriesUnknown({ deliveries: { unknownSecret } }: Verification): Information[] {
  if (unknownSecret === 0) return [];
  const message = `${unknownSecret} deliveries are signed with secrets that were not given: not checked`;
  return [{ code: 'secret_unknown', key: null, message }];
}

/** `<day>-<hash16>[-n].jsonl.gz.age` and its like: written by a run that died, or that lost its manifest to another. */
const objectName = /(?:^|[-/])[0-9a-f]{16}(?:-\d+)?\.(?:(?:deliveries\.)?jsonl\.gz\.age|ids\.gz)$/;

async function unnamedObjects(
  { store, prefix }: ArchiveToVerify,
  { isWhole }: Chain,
  known: ReadonlySet<string>,
): Promise<Information[]> {
  const found = { orphan: openBounded(), other_file: openBounded() };
  for await (const key of store.list(prefix)) {
    if (known.has(key) || key.startsWith(`${prefix}manifests/`)) continue;
    found[objectName.test(key) ? 'orphan' : 'other_file'].add(key);
  }
  const orphan = isWhole
    ? 'no manifest names it: left by a run that died'
    : 'no manifest that could be trusted names it';
  return [
    ...found.orphan.list().map((key) => ({ code: 'orphan' as const, key, message: orphan })),
    ...found.orphan.omitted((count) => ({ code: 'orphan', key: null, message: `${count} more orphans` })),
    ...found.other_file.list().map((key) => ({ code: 'other_file' as const, key, message: 'is not of daybook' })),
    ...found.other_file.omitted((count) => ({ code: 'other_file', key: null, message: `${count} more other files` })),
  ];
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
    const message = `manifest ${number} is the newest here${ledger.head === undefined ? ': there is none' : `, of ${ledger.head.createdAt}`}. Were newer ones deleted, the chain alone could not tell; \`daybook-compactor run\` would: the stream's committed positions are then ahead (ledger_behind, exit 3)`;
    found.push({ code: 'newest_manifest', key: null, message });
  }
  if (identities === undefined && number > 0) {
    found.push({ code: 'not_opened', key: null, message: 'without --identity what is sealed was hashed, not opened' });
  }
  return found;
}
