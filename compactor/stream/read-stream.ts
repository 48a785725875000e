/**
 * Reads the stream from where the ledger stands to its end as of now, and sorts every record into one of three:
 * staged (its own day is closed and touched by this run), quarantined (no envelope), waiting (all others: they stay
 * above `next`, outside `done`, and are read again by a later run).
 */
import { type Day, dayOf, parseInstant } from '../../shared/clock.ts';
import type { StreamKeys } from '../../shared/crypto/stream-seal.ts';
import {
  checkSeal,
  type Envelope,
  type EnvelopeHeader,
  readEnvelope,
  readPlainHeader,
  sourceOf,
} from '../../shared/envelope.ts';
import { quickReader } from '../../shared/json/json-bytes.ts';
import { maxNesting, nestingOf } from '../../shared/json/json-text.ts';
import { inParallel } from '../../shared/parallel.ts';
import { type EventScope, type ScopeClaims, scopeOfEvent } from '../../shared/schemes/stripe-scope.ts';
import { type ThinFacts, thinFacts } from '../../shared/schemes/stripe-thin-events.ts';
import { markOf } from '../../shared/stream/prove-record.ts';
import type { Cursor, EventStreamReader, StreamEntry, StreamSnapshot } from '../../shared/stream/stream.ts';
import { type CursorRange, pushCursors, without } from '../ledger/cursor-ranges.ts';
import type { Hole, StreamPosition } from '../ledger/manifest.ts';
import { untrusted } from '../ledger/prove-time.ts';
import { type CopyFacts, copyKey, encodeCopy } from '../staging/staged-copy.ts';
import { provePositions } from './prove-position.ts';
import { endOf, endsOf, type PartitionReading, type StreamReading } from './reading.ts';

/** What becomes of the records: given by the run. */
export interface Stager {
  isTouched(day: Day): boolean;
  /** `thin` is given of a thin event. */
  stage(
    source: string,
    key: string,
    payload: readonly Buffer[],
    id: string,
    facts: CopyFacts,
    thin: ThinFacts | undefined,
  ): void;
  quarantine(line: string, partition: string, range: CursorRange): Promise<void>;
  progress(records: number): void;
}

export async function readStream(
  stream: EventStreamReader,
  snapshot: StreamSnapshot,
  ledger: StreamPosition | undefined,
  rules: RecordRules,
  stager: Stager,
  seenAt: string,
): Promise<StreamReading> {
  const known = ledger?.id === snapshot.id ? ledger.partitions : {};
  const partitions = new Map<string, PartitionReading>();
  const holes: Hole[] = [];
  const proven = await provePositions(stream, snapshot, known);
  let records = 0;
  let hasFailed = false;
  const receipts: Receipts = { all: 0, future: 0 };

  for (const partition of snapshot.partitions.keys()) {
    const { from, done: doneBefore = [] } = proven.get(partition) ?? {};
    const tip = from === undefined ? undefined : known[partition]?.tip;
    partitions.set(partition, { from, doneBefore, seen: [], waiting: [], tip, lost: [] });
  }
  await inParallel(partitions.keys(), stream.readsAtOnce ?? 1, (partition) => readOn(partition, snapshot));
  // Where workers ended in different places, they go on to where the one is that came furthest.
  for (const [partition, end] of (await rules.furthest?.(endsOf(partitions))) ?? []) {
    if (end !== endOf(partitions.get(partition)!)) {
      await readOn(partition, { ...snapshot, partitions: new Map([[partition, { end }]]) });
    }
  }

  async function readOn(partition: string, to: StreamSnapshot): Promise<void> {
    try {
      await readTo(partition, to);
    } catch (error) {
      hasFailed = true;
      throw error;
    }
  }

  async function readTo(partition: string, to: StreamSnapshot): Promise<void> {
    const reading = partitions.get(partition)!;
    const isDone = skipper(reading.doneBefore);
    for await (const { hole, entries } of stream.read(partition, endOf(reading), to)) {
      // Of another one that is read at the same time: nothing comes of this one either.
      if (hasFailed) return;
      if (hole !== undefined) {
        pushCursors(reading.seen, hole.from, hole.to);
        reading.tip = { at: String(hole.to), mark: null };
        // What earlier runs archived before it aged out is not a loss.
        for (const [from, to] of without([[hole.from, hole.to]], reading.doneBefore)) {
          reading.lost.push([from, to]);
          holes.push({ partition, from: String(from), to: String(to), seenAt });
        }
      }
      for (const entry of entries) {
        pushCursors(reading.seen, entry.before, entry.after);
        records += 1;
        if (isDone(entry)) continue;
        const taken = takeRecord(partition, entry, rules, stager, receipts);
        // Most are staged at once: a promise for each would cost as much as some of the work.
        if (!(typeof taken === 'boolean' ? taken : await taken)) {
          pushCursors(reading.waiting, entry.before, entry.after);
        }
      }
      const last = entries.at(-1);
      if (last !== undefined) reading.tip = { at: String(last.after), mark: markOf(last) };
      stager.progress(records);
    }
  }
  // One record can lie about its receipt. If most of them were received in the future, it is this clock that is behind.
  if (receipts.future * 2 > receipts.all) {
    throw untrusted(`${receipts.future} of ${receipts.all} records were received later than ${rules.latestReceipt}`);
  }
  return {
    id: snapshot.id,
    partitions,
    holes,
    recreated: [...proven].flatMap(([partition, { from }]) => (from === undefined ? [partition] : [])),
  };
}

/** Envelopes that are new, and those of them that are of the future and say that they were received there. */
interface Receipts {
  all: number;
  future: number;
}

/** Stages or quarantines a record and says true, or false where it waits. What is another worker's is done with. */
function takeRecord(
  partition: string,
  entry: StreamEntry,
  rules: RecordRules,
  stager: Stager,
  receipts: Receipts,
): boolean | Promise<boolean> {
  if (rules.isOwn !== undefined) {
    const { source, id, instantMs } = placeOf(entry, partition);
    const isOwn = rules.isOwn(source, id);
    // By the header alone: of several workers each must say the same of every record, whosever it is. What else is wrong
    // with it is found on its day.
    const day = instantMs === undefined ? undefined : dayOf(instantMs);
    if (day !== undefined && day <= rules.latestDay && !stager.isTouched(day)) {
      if (isOwn) receipts.all += 1;
      return false;
    }
    if (!isOwn) return true;
  }
  const record = readRecord(entry.value, rules, receipts);
  if ('reason' in record) {
    const line = quarantineLine(partition, entry.position, record.reason, entry.value);
    return stager.quarantine(line, partition, [entry.before, entry.after]).then(() => true);
  }
  if (!stager.isTouched(record.day)) return false;
  const { header, headerBytes, data } = record.envelope;
  const facts: CopyFacts = {
    origin: isRepublished(header) ? 'republished' : 'delivered',
    kind: record.kind,
    isThin: record.thin !== undefined,
    day: record.day,
    instantMs: record.instantMs,
    scope: record.scope,
    partition,
    position: String(entry.position),
    before: String(entry.before),
    after: String(entry.after),
  };
  const key = copyKey(header.id, header.receivedat);
  stager.stage(record.name, key, encodeCopy(data, headerBytes, facts), header.id, facts, record.thin);
  return true;
}

const dataMark = Buffer.from(',"data":');

/** What says whose a record is, and when. Most are somebody else's: it costs a third of what the envelope does. */
function placeOf(
  { value, position }: StreamEntry,
  partition: string,
): { readonly source: string; readonly id: string; readonly instantMs: number | undefined } {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const plain = readPlainHeader(bytes.subarray(0, Math.max(bytes.indexOf(dataMark), 0)));
  const named = plain && sourceOf(plain);
  if (named !== undefined) {
    return { source: named.name, id: plain!.id, instantMs: parseInstant(plain!.time ?? plain!.receivedat) };
  }
  const envelope = readEnvelope(value);
  // One that is no envelope is known by where it stands.
  if ('reason' in envelope) return { source: partition, id: String(position), instantMs: undefined };
  return { source: sourceOf(envelope.header)!.name, id: envelope.header.id, instantMs: envelope.instantMs };
}

interface ReadRecord {
  readonly envelope: Envelope;
  readonly name: string;
  readonly kind: 'stripe' | 'events';
  readonly day: Day;
  readonly instantMs: number;
  readonly scope: EventScope | undefined;
  readonly thin: ThinFacts | undefined;
}

/** What must hold of a record, whoever wrote it. */
export interface RecordRules {
  /** A day beyond this one would hold the stream up for years. */
  readonly latestDay: Day;
  /** Later receipts are of the future. RFC 3339 UTC with milliseconds. */
  readonly latestReceipt: string;
  readonly streamKeys: StreamKeys | undefined;
  /** RFC 3339 UTC with milliseconds. */
  readonly acceptUnsealedBefore: string | undefined;
  /** What the records of a source are, where that is known. */
  readonly kinds: ReadonlyMap<string, 'stripe' | 'events' | undefined>;
  /** Where there are several workers: whether a record is this one's. */
  readonly isOwn?: ((source: string, id: string) => boolean) | undefined;
  /** Where there are several workers, and the snapshot has no ends: how far any of them has read, given what this one has. */
  readonly furthest?: ((ends: ReadonlyMap<string, Cursor>) => Promise<ReadonlyMap<string, Cursor>>) | undefined;
}

/** Why the record is not from ingest or the compactor, as far as it can be told. */
function strangerReason(envelope: Envelope, rules: RecordRules): string | undefined {
  const { header } = envelope;
  if (rules.streamKeys !== undefined) {
    const state = checkSeal(envelope, rules.streamKeys);
    const isOld = state === 'absent' && header.receivedat < (rules.acceptUnsealedBefore ?? '');
    if (state !== 'holds' && !isOld) return `record_unsealed: the seal is ${sealWords[state]}`;
  }
  const { kind, name } = sourceOf(header)!;
  const configured = rules.kinds.get(name);
  if (configured !== undefined && configured !== kind) return `source ${name} has no events of kind ${kind}`;
  const isStripe = header.scheme === 'stripe';
  if (isStripe !== (kind === 'stripe')) return `scheme ${header.scheme} is not of kind ${kind}`;
  if (!isRepublished(header) && header.scheme === 'none') return 'a delivery needs a scheme';
  return undefined;
}

/** Nobody delivered it: an earlier night, or a restore, put it there. */
function isRepublished({ via }: EnvelopeHeader): boolean {
  return via === 'list' || via === 'restore';
}

const sealWords = { absent: 'not there', 'unknown key': 'of an unknown key', broken: 'not of this record' } as const;

/** The line that the quarantine keeps of a record. */
export function quarantineLine(partition: string, position: bigint, reason: string, value: Uint8Array): string {
  const raw = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  return JSON.stringify({ partition, position: String(position), reason, raw });
}

/** What a stream record is, or why it goes to the quarantine. */
function readRecord(
  value: Uint8Array,
  rules: RecordRules,
  receipts: Receipts,
): ReadRecord | { readonly reason: string } {
  const envelope = readEnvelope(value);
  if ('reason' in envelope) return envelope;
  const stranger = strangerReason(envelope, rules);
  if (stranger !== undefined) return { reason: stranger };
  const { header, data, instantMs } = envelope;
  receipts.all += 1;
  const event = readClaims(data);
  if ('reason' in event) return event;
  const { kind, name } = sourceOf(header)!;
  let scope: EventScope | undefined;
  let thin: ThinFacts | undefined;
  if (kind === 'stripe') {
    const claimed = stripeFacts(event);
    if (claimed.id !== header.id) return { reason: 'data has another id than the envelope' };
    if (claimed.instantMs !== instantMs) return { reason: 'data has another time than the envelope' };
    // Of all Stripe events thin ones alone have a date-time: the others are not looked into.
    if (typeof event.created === 'string') thin = thinFacts(JSON.parse(data.toString()));
    scope = scopeOfEvent(event);
  }
  if (instantMs < 0) return { reason: 'time is before 1970' };
  const day = dayOf(instantMs);
  if (day > rules.latestDay) {
    if (header.receivedat > rules.latestReceipt) receipts.future += 1;
    return { reason: 'time is in the future' };
  }
  return {
    envelope,
    name,
    kind,
    day,
    instantMs,
    scope,
    thin,
  };
}

/** What `stripeFacts` looks at. */
interface Claims extends ScopeClaims {
  readonly id?: unknown;
  readonly created?: unknown;
}

const readQuickly = quickReader({
  id: true,
  created: true,
  livemode: true,
  account: true,
  user_id: true,
  context: true,
});

/** What the data of a record claims, or why it is not an event. */
function readClaims(data: Buffer): Claims | { readonly reason: string } {
  const quick = readQuickly(data);
  if (quick !== undefined) return quick;
  if (nestingOf(data) > maxNesting) return { reason: 'data is nested too deeply' };
  let event: unknown;
  try {
    event = JSON.parse(data.toString());
  } catch {
    return { reason: 'data is not JSON' };
  }
  if (typeof event !== 'object' || event === null || Array.isArray(event)) return { reason: 'data is not an object' };
  // These alone: a member `reason` of the event would be taken for ours.
  const { id, created, livemode, account, user_id, context } = event as Claims;
  return { id, created, livemode, account, user_id, context };
}

/** The members of a Stripe event that the night works with. `created` is whole seconds, or RFC 3339 in v2 events. */
export function stripeFacts(event: Claims): { id: unknown; instantMs: number | undefined } {
  const { id, created } = event;
  const instantMs =
    typeof created === 'number' && Number.isSafeInteger(created)
      ? created * 1000
      : typeof created === 'string'
        ? parseInstant(created)
        : undefined;
  return { id, instantMs };
}

/** Tells of records in reading order whether an earlier run is done with them. */
function skipper(done: readonly CursorRange[]): (entry: StreamEntry) => boolean {
  let at = 0;
  return ({ before, after }) => {
    while (at < done.length && done[at]![1] <= before) at += 1;
    const range = done[at];
    return range !== undefined && range[0] <= before && after <= range[1];
  };
}
