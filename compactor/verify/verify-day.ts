/** One day of one source, against all that the manifests say of it. */
import type { Day } from '../../shared/clock.ts';
import type { Identities } from '../../shared/crypto/identities.ts';
import { inParallel } from '../../shared/parallel.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { idsOf } from '../day/archived-ids.ts';
import type { DayState } from '../ledger/ledger.ts';
import type { DeliveriesObject, Part } from '../ledger/manifest.ts';
import { keyText, type SortBudget, type Sorter, sortKey } from '../staging/external-sort.ts';
import type { BreakCode, Breaks, Finding } from './breaks.ts';
import { checkDelivery, type SecretsOfSources } from './check-delivery.ts';
import {
  exceptionsChecker,
  linesOfExceptions,
  type NotedIds,
  type NumberedId,
  openNotedIds,
  type StatedExceptions,
} from './verify-exceptions.ts';
import type { IdRegister } from './verify-ids.ts';
import { deliveriesChecker, partChecker } from './verify-lines.ts';
import { bytesAlone, checkName, checkObject, idLines, type ReadContent, sealedLines } from './verify-object.ts';
import { type LineProof, openLineProof } from './verify-proof.ts';
import type { DayProof } from './verify-resume.ts';

export interface Verification {
  readonly store: ObjectStore;
  /** Undefined: what is sealed stays sealed. */
  readonly identities: Identities | undefined;
  /** Undefined: signatures of deliveries are not looked at. */
  readonly secrets: SecretsOfSources | undefined;
  readonly budget: SortBudget;
  readonly breaks: Breaks;
  readonly register: IdRegister;
  /** The key of the object that has these bytes by its manifest. */
  otherKeyOf(sha256: string): string | undefined;
  /** Whether a manifest says that the object is pruned: then it need not be there. */
  isPruned(key: string): Promise<boolean>;
  /** Told of each object when it has been read. */
  read(): void;
  /** Told of each sealed object that an identity opened. */
  opened(): void;
  /** Told of each event of an opened part. */
  readEvent(): void;
}

export interface DeliveryCounts {
  /** Those whose secret was given. */
  checked: number;
  failed: number;
  unknownSecret: number;
}

interface CheckingDay extends Verification {
  readonly source: string;
  readonly day: Day;
  readonly deliveries: DeliveryCounts;
  hasCloudEvents: boolean;
  /** Ids of the day's events, by its `ids.gz`, each with the number of the manifest that names the object. */
  readonly known: Sorter;
  /** Ids of deliveries, each with the index of its object in `evidenceObjects`. */
  readonly evidence: Sorter;
  /** Undefined: signatures are not looked at. */
  readonly proof: LineProof | undefined;
  readonly evidenceObjects: { readonly manifest: number; readonly key: string; isSound: boolean }[];
}

/** Of one day: while the lines of one are looked at the next ones are fetched and unpacked. */
const objectsAtOnce = 2;

type Placed<T> = T & { readonly manifest: number };

/** Adds to `breaks` whatever is wrong with the day's objects. Rejects where the store fails. */
export async function verifyDay(
  verification: Verification,
  source: string,
  day: Day,
  state: DayState,
): Promise<DayProof> {
  const { budget } = verification;
  const known = budget.sorter();
  const evidence = budget.sorter();
  const excepted = budget.sorter();
  const checking: CheckingDay = {
    ...verification,
    source,
    day,
    deliveries: { checked: 0, failed: 0, unknownSecret: 0 },
    hasCloudEvents: false,
    known,
    evidence,
    proof: verification.secrets === undefined ? undefined : openLineProof(budget),
    evidenceObjects: [],
  };
  try {
    let idsAreSound = true;
    let delivered: number | undefined = 0;
    const objects = state.parts.flatMap((part) => {
      const work = async () => {
        const isSound = await verifyIds(checking, part);
        idsAreSound &&= isSound;
        await verifyPart(checking, part, isSound);
      };
      const { deliveries, manifest } = part;
      if (deliveries === null) return [work];
      const evidence = async () => {
        const ids = await verifyDeliveries(checking, { ...deliveries, manifest }, true);
        delivered = ids === undefined || delivered === undefined ? undefined : delivered + ids;
      };
      return [work, evidence];
    });
    const late = state.lateDeliveries.map((late) => async () => {
      await verifyDeliveries(checking, late, false);
    });
    await inParallel([...objects, ...late], objectsAtOnce, (work) => work());
    const noted = openNotedIds(excepted);
    const sound = new Set<StatedExceptions>();
    for (const object of state.exceptions) if (await verifyExceptions(checking, object, noted)) sound.add(object);
    if (verification.identities !== undefined) {
      if (idsAreSound) {
        refuseStrangers(checking);
        for (const { object, message } of noted.compare(known, deliveredIds(checking))) {
          if (sound.has(object)) note(checking, object, [{ code: 'content_wrong', message }]);
        }
      }
      refuseContradicted(checking, state);
      const newest = state.parts.at(-1);
      if (newest !== undefined && delivered !== undefined && delivered !== state.counts.delivered) {
        const message = `${delivered} events have a delivery, the newest manifest of the day says ${state.counts.delivered}`;
        note(checking, newest, [{ code: 'counts_wrong', message }]);
      }
    }
    return { deliveries: checking.deliveries, hasCloudEvents: checking.hasCloudEvents };
  } finally {
    known.close();
    evidence.close();
    checking.proof?.close();
    excepted.close();
  }
}

/** The ids of a day whose objects were proven by an earlier run: whether one is archived twice, all ids tell together. */
export async function readIds(verification: Verification, source: string, day: Day, state: DayState): Promise<void> {
  for (const part of state.parts) await verifyIds({ ...verification, source, day, known: undefined }, part);
}

type CheckingIds = Verification & { readonly source: string; readonly day: Day; readonly known: Sorter | undefined };

/** Whether the ids can be relied on; if so, they are known from now on. */
async function verifyIds(checking: CheckingIds, part: Placed<Part>): Promise<boolean> {
  const { store, source, day, known, register } = checking;
  const { manifest, ids, events } = part;
  // Ids are never pruned.
  if (!(await verifyObject(checking, { ...ids, manifest }, idLines(ids.key, events), false))) return false;
  const enter = register.of({ source, day, manifest, key: ids.key });
  const number = Buffer.alloc(4);
  number.writeUInt32BE(manifest);
  for await (const id of idsOf(store, ids)) {
    enter(id);
    if (checking.identities !== undefined) known?.add(sortKey(id), [number]);
  }
  return true;
}

async function verifyPart(checking: CheckingDay, part: Placed<Part>, idsAreSound: boolean): Promise<void> {
  const { identities, source, day, budget } = checking;
  const { manifest, key, sha256, bytes, events } = part;
  const object = { manifest, key, sha256: sha256.ciphertext, bytes: bytes.ciphertext };
  if (identities === undefined) {
    await verifyObject(checking, object, named(key, sha256.plaintext, bytesAlone));
    return;
  }
  const ids = budget.sorter();
  try {
    let hasCloudEvents = false;
    const checker = partChecker({ part, source, day }, (id, kind, line) => {
      if (part.deliveries !== null) checking.proof?.addLine(id, kind, line);
      ids.add(sortKey(id), []);
      hasCloudEvents ||= kind === 'events';
      checking.readEvent();
    });
    const expected = { plaintext: sha256.plaintext, lines: events, bytes: bytes.plaintext };
    const readLines = sealedLines(identities, expected, checker.each);
    const isSound = await verifyObject(
      checking,
      object,
      named(key, sha256.plaintext, async (chunks, findings) => {
        await readLines(chunks, findings);
        checker.end(findings);
      }),
    );
    if (!isSound) return;
    checking.hasCloudEvents ||= hasCloudEvents;
    if (idsAreSound) note(checking, object, await compareIds(checking.store, part, ids));
  } finally {
    ids.close();
  }
}

/** The ids of the lines against the part's `ids.gz`. */
async function compareIds(store: ObjectStore, { ids }: Part, ofLines: Sorter): Promise<Finding[]> {
  const sorted = ofLines.sorted();
  let without: string | undefined;
  let beyond: string | undefined;
  let line = sorted.next();
  for await (const id of idsOf(store, ids)) {
    const key = sortKey(id);
    for (; line.done !== true && line.value.key < key; line = sorted.next()) beyond ??= keyText(line.value.key);
    if (line.done !== true && line.value.key === key) line = sorted.next();
    else without ??= id;
  }
  if (line.done !== true) beyond ??= keyText(line.value.key);
  sorted.return();
  const findings: Finding[] = [];
  if (without !== undefined) findings.push({ code: 'ids_wrong', message: `has no line for ${without} of ${ids.key}` });
  if (beyond !== undefined)
    findings.push({ code: 'ids_wrong', message: `has a line for ${beyond}, unlike ${ids.key}` });
  return findings;
}

/** How many events it has deliveries of; undefined where that cannot be told. */
async function verifyDeliveries(
  checking: CheckingDay,
  { manifest, key, sha256, count }: Placed<DeliveriesObject>,
  /** Whether the lines of its part were made of these. */
  isOfPart: boolean,
): Promise<number | undefined> {
  const { identities, evidence, evidenceObjects, deliveries, secrets, source } = checking;
  const object = { manifest, key, sha256: sha256.ciphertext };
  if (identities === undefined) {
    await verifyObject(checking, object, named(key, sha256.plaintext, bytesAlone));
    return undefined;
  }
  const index = Buffer.alloc(4);
  index.writeUInt32BE(evidenceObjects.length);
  const entry = { manifest, key, isSound: false };
  evidenceObjects.push(entry);
  const counts: DeliveryCounts = { checked: 0, failed: 0, unknownSecret: 0 };
  let ids = 0;
  const checker = deliveriesChecker((delivery, isNewId, number, findings) => {
    if (isNewId) {
      ids += 1;
      evidence.add(sortKey(delivery.id), [index]);
    }
    if (secrets === undefined) return;
    const outcome = checkDelivery(delivery, secrets.get(source));
    if (outcome === 'unknown_secret') counts.unknownSecret += 1;
    else counts.checked += 1;
    if (isOfPart) checking.proof?.addDelivery(delivery.id, delivery.body, outcome === 'holds');
    if (outcome !== 'failed') return;
    counts.failed += 1;
    findings.add('delivery_unproven', "a delivery's signature does not hold", number);
  });
  const expected = { plaintext: sha256.plaintext, lines: count };
  const readLines = sealedLines(identities, expected, checker);
  const found = await findingsOf(checking, object, named(key, sha256.plaintext, readLines));
  if (found === 'pruned') return undefined;
  note(checking, object, found);
  // Signatures say nothing about bytes that are not the archive's, and a signature that fails damages no id.
  if (found.some(({ code }) => code === 'object_damaged' || code === 'object_missing')) return undefined;
  deliveries.checked += counts.checked;
  deliveries.failed += counts.failed;
  deliveries.unknownSecret += counts.unknownSecret;
  entry.isSound = found.every(({ code }) => code === 'delivery_unproven');
  return entry.isSound ? ids : undefined;
}

/** A line that is another than what was proven of its event. */
function refuseContradicted(checking: CheckingDay, state: DayState): void {
  let first: string | undefined;
  let more = 0;
  for (const id of checking.proof?.contradicted() ?? []) {
    if (first === undefined) first = id;
    else more += 1;
  }
  const part = state.parts[0];
  if (first === undefined || part === undefined) return;
  const others = more === 0 ? '' : ` (and ${more} more)`;
  const message = `the line of ${first}${others} is not what a delivery with a signature that holds brought`;
  note(checking, part, [{ code: 'delivery_unproven', message }]);
}

async function verifyExceptions(checking: CheckingDay, object: StatedExceptions, noted: NotedIds): Promise<boolean> {
  const { identities } = checking;
  const { manifest, key, sha256 } = object;
  const sealed = { manifest, key, sha256: sha256.ciphertext };
  if (identities === undefined) {
    return verifyObject(checking, sealed, named(key, sha256.plaintext, bytesAlone));
  }
  const checker = exceptionsChecker(object, noted.of(object));
  const expected = { plaintext: sha256.plaintext, lines: linesOfExceptions(object) };
  const readLines = sealedLines(identities, expected, checker.each);
  return verifyObject(
    checking,
    sealed,
    named(key, sha256.plaintext, async (chunks, findings) => {
      await readLines(chunks, findings);
      checker.end(findings);
    }),
  );
}

function* deliveredIds({ evidence, evidenceObjects }: CheckingDay): Generator<NumberedId, void, void> {
  for (const { key, payload } of evidence.sorted()) {
    yield { key, manifest: evidenceObjects[payload.readUInt32BE()]!.manifest };
  }
}

/** A delivery whose event is not among the day's is evidence of nothing. */
function refuseStrangers(checking: CheckingDay): void {
  const { known, evidence, evidenceObjects } = checking;
  const strangers = new Map<number, { first: string; more: number }>();
  const events = known.sorted();
  let event = events.next();
  for (const { key, payload } of evidence.sorted()) {
    while (event.done !== true && event.value.key < key) event = events.next();
    if (event.done !== true && event.value.key === key) continue;
    const index = payload.readUInt32BE();
    const before = strangers.get(index);
    if (before === undefined) strangers.set(index, { first: keyText(key), more: 0 });
    else before.more += 1;
  }
  events.return();
  for (const [index, { first, more }] of strangers) {
    const object = evidenceObjects[index]!;
    if (!object.isSound) continue;
    const others = more === 0 ? '' : ` (and ${more} more)`;
    const message = `has deliveries of ${first}${others}, which is not an event of the day`;
    note(checking, object, [{ code: 'content_wrong', message }]);
  }
}

/** Adds the check of the name, which needs nothing but the manifest. */
export function named(key: string, plaintext: string, readContent: ReadContent): ReadContent {
  return async (chunks, findings) => {
    checkName(key, plaintext, findings);
    await readContent(chunks, findings);
  };
}

/** Whether the object is there and sound. */
async function verifyObject(
  checking: CheckingIds,
  object: Parameters<typeof checkObject>[1],
  readContent: ReadContent,
  mayBePruned = true,
): Promise<boolean> {
  const found = await findingsOf(checking, object, readContent, mayBePruned);
  if (found === 'pruned') return false;
  note(checking, object, found);
  return found.length === 0;
}

/** `pruned`: it is not there, and need not be. */
async function findingsOf(
  { store, identities, otherKeyOf, isPruned, read, opened }: Verification,
  object: Parameters<typeof checkObject>[1],
  readContent: ReadContent,
  mayBePruned = true,
): Promise<Finding[] | 'pruned'> {
  const found = await checkObject(store, object, otherKeyOf, readContent);
  if (identities !== undefined && isOpened(object.key, found)) opened();
  read();
  const isMissing = found[0]?.code === 'object_missing';
  return isMissing && mayBePruned && (await isPruned(object.key)) ? 'pruned' : found;
}

const unopened: ReadonlySet<string> = new Set(['object_missing', 'object_damaged', 'sealed_unreadable']);

/** Whether so much of a sealed object was found that it must have been opened. */
export function isOpened(key: string, found: readonly Finding[]): boolean {
  return key.endsWith('.age') && !found.some(({ code }) => unopened.has(code));
}

function note(
  { breaks, source, day }: CheckingIds,
  { manifest, key }: { readonly manifest: number; readonly key: string },
  found: readonly { readonly code: BreakCode; readonly message: string }[],
): void {
  for (const finding of found) breaks.add({ ...finding, manifest, key }, { source, day });
}
