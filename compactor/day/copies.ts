/**
 * From many copies of an event to one line (FORMAT.md, Parts). Pure decisions, no output: the same copies give the same
 * decisions, so a pass may be repeated.
 *
 * - A Stripe id is one event for ever. Any other id is one event within the days D-31…D+1 of a copy's own day D.
 * - An id archived once stays as it is: its copies join that day as late deliveries.
 * - A record that nobody delivered (`list`, `restore`) repeats what is archived. It makes no line and beats no other copy:
 *   whoever may write to the stream could else rewrite the archive with it.
 * - Among copies in hand a delivered one beats the others; among equals the smallest canonical line wins. Stripe's line
 *   lies in its own day, any other in the earliest day that a copy claims.
 */
import { addDays, type Day, dayOf, parseInstant } from '../../shared/clock.ts';
import type { Night } from '../night.ts';
import { keyText, type SortedEntry, type Sorter } from '../staging/external-sort.ts';
import { type GroupBuffer, openGroupBuffer } from '../staging/group-buffer.ts';
import { idKeyOf, type StagedCopy } from '../staging/staged-copy.ts';
import { archiveLine } from './archive-line.ts';
import { openDifferences } from './differences.ts';

/** One event as decided: where it belongs, and the line if it is new. */
export interface DecidedEvent {
  readonly id: string;
  readonly idKey: string;
  /** The day of its line, archived or new. */
  readonly target: Day;
  /** Undefined where the event is archived already. */
  readonly line: { readonly bytes: Buffer; readonly instantMs: number; readonly delivered: boolean } | undefined;
  readonly differs: boolean;
  /** Nothing but records that claim to be repeated, of an event that is neither archived nor listed. */
  readonly isUnproven: boolean;
  /** Whether it is Stripe's, so that copies are compared as Stripe's are. */
  readonly isStripe: boolean;
  /** Whether a copy of it is a thin event. */
  readonly isThin: boolean;
  /** The days in whose list the event stands. */
  readonly listedIn: ReadonlySet<Day>;
  /** Its copies, byte-equal records once; cursors of all of them are in `eachCursor`. */
  deliveries(): Iterable<StagedCopy>;
  /** Every staged copy, repeated records included. */
  copies(): Iterable<StagedCopy>;
}

/** An id of a source other than Stripe is looked up this far around a copy's own day. */
export const lookBackDays = 31;
export const lookAheadDays = 1;

/** Walks staged copies and archived hits in step, event by event in the order of ids. */
export function* decideEvents(
  staged: Sorter,
  hits: Sorter,
  { stagingDirectory, acceptRestored = false }: Pick<Night, 'stagingDirectory' | 'acceptRestored'>,
): Generator<DecidedEvent, void, void> {
  const archived = hits.sorted();
  let hit = archived.next();
  for (const group of groupsById(staged, stagingDirectory)) {
    const days: Day[] = [];
    while (hit.done !== true && hit.value.key < group.idKey) hit = archived.next();
    while (hit.done !== true && hit.value.key === group.idKey) {
      days.push(hit.value.payload.toString());
      hit = archived.next();
    }
    yield* decideGroup(group, days.sort(), acceptRestored);
  }
}

interface Group {
  readonly id: string;
  readonly idKey: string;
  readonly copies: GroupBuffer;
}

function* groupsById(staged: Sorter, directory: string): Generator<Group, void, void> {
  const copies = openGroupBuffer(directory);
  let group: Group | undefined;
  const sorted: Iterable<SortedEntry> = staged.sorted();
  try {
    for (const { key, payload } of sorted) {
      const idKey = idKeyOf(key);
      if (group?.idKey !== idKey) {
        if (group !== undefined) yield group;
        group = { id: keyText(idKey), idKey, copies };
        copies.clear(group.id);
      }
      copies.push(payload);
    }
    if (group !== undefined) yield group;
  } finally {
    copies.clear('');
  }
}

/** One group is one event, but for ids of other sources that come back after more than a month. */
function* decideGroup(
  group: Group,
  archivedDays: readonly Day[],
  acceptRestored: boolean,
): Generator<DecidedEvent, void, void> {
  const [only, another] = group.copies.held();
  const makesLine = ({ origin }: StagedCopy) => origin !== 'republished' || acceptRestored;
  if (only !== undefined && another === undefined && archivedDays.length === 0) {
    yield decideOnly(group, only, makesLine(only));
    return;
  }
  const ownDays = new Set<Day>();
  let isStripe = true;
  for (const copy of group.copies.replay()) {
    // The day that a repeated record claims must not decide which copies are of one event.
    if (makesLine(copy)) ownDays.add(copy.day);
    isStripe &&= copy.kind === 'stripe';
  }
  if (isStripe) {
    yield decideEvent(group, () => true, makesLine, archivedDays[0], true);
    return;
  }
  if (ownDays.size === 0) {
    yield decideEvent(group, () => true, makesLine, archivedDays[0], false);
    return;
  }
  // By its own day the event that a copy is of. Copies of several days may be of one, which is decided once.
  const events: { readonly target: Day; readonly isArchived: boolean }[] = archivedDays.map((target) => {
    return { target, isArchived: true };
  });
  const eventOf = new Map<Day, (typeof events)[number]>();
  for (const day of [...ownDays].sort()) {
    const near = ({ target }: { target: Day }) =>
      target >= addDays(day, -lookBackDays) && target <= addDays(day, lookAheadDays);
    // Archived ones come first. Days come in ascending order, so a day that an earlier one took in is that one's.
    let event = events.find(near);
    if (event === undefined) {
      event = { target: day, isArchived: false };
      events.push(event);
    }
    eventOf.set(day, event);
  }
  for (const event of new Set(eventOf.values())) {
    const { target, isArchived } = event;
    yield decideEvent(
      group,
      (copy) => eventOf.get(copy.day) === event,
      makesLine,
      isArchived ? target : undefined,
      false,
    );
  }
}

const noDays: ReadonlySet<Day> = new Set();

/** What `decideEvent` says of a new event with a single copy, which most are: nothing to compare, so much cheaper. */
function decideOnly({ id, idKey }: Group, copy: StagedCopy, makesLine: boolean): DecidedEvent {
  const delivered = copy.origin === 'delivered';
  const receipt = copy.kind === 'stripe' || copy.header().time !== undefined ? undefined : copy.header().receivedat;
  const copies = [copy];
  return {
    id,
    idKey,
    target: copy.day,
    line: makesLine ? { bytes: archiveLine(copy, receipt), instantMs: copy.instantMs, delivered } : undefined,
    differs: false,
    isUnproven: !makesLine,
    isStripe: copy.kind === 'stripe',
    isThin: copy.isThin === true,
    listedIn: copy.origin === 'listed' ? new Set([copy.day]) : noDays,
    deliveries: () => (delivered ? copies : []),
    copies: () => copies,
  };
}

function decideEvent(
  group: Group,
  isOfIt: (copy: StagedCopy) => boolean,
  makesLine: (copy: StagedCopy) => boolean,
  archivedDay: Day | undefined,
  isStripe: boolean,
): DecidedEvent {
  const { id, idKey } = group;
  function* copies(): Generator<StagedCopy, void, void> {
    for (const copy of group.copies.replay()) if (isOfIt(copy)) yield copy;
  }
  function* deliveries(): Generator<StagedCopy, void, void> {
    let previous: Buffer | undefined;
    for (const copy of copies()) {
      if (copy.origin !== 'delivered' || previous?.equals(copy.record) === true) continue;
      previous = copy.record;
      yield copy;
    }
  }

  const listedIn = new Set<Day>();
  const differences = openDifferences(isStripe);
  let best: StagedCopy | undefined;
  let bestLine: Buffer | undefined;
  let firstReceipt: string | undefined;
  let firstDay: Day | undefined;
  let count = 0;
  let isThin = false;
  for (const copy of copies()) {
    firstDay ??= copy.day;
    isThin ||= copy.isThin === true;
    if (!makesLine(copy)) continue;
    count += 1;
    if (copy.origin === 'listed') listedIn.add(copy.day);
    differences.compare(copy);
    if (archivedDay !== undefined) continue;
    if (!isStripe && copy.origin !== 'listed') firstReceipt = earlier(firstReceipt, copy.header().receivedat);
    if (best === undefined) best = copy;
    else if (!best.body.equals(copy.body) || best.origin !== copy.origin || best.day !== copy.day) {
      const rankOfCopy = rank(copy, isStripe);
      const rankOfBest = rank(best, isStripe);
      if (rankOfCopy > rankOfBest) continue;
      const line = archiveLine(copy, undefined);
      if (rankOfCopy < rankOfBest || line.compare(bestLine ?? archiveLine(best, undefined)) < 0) {
        best = copy;
        bestLine = line;
      }
    }
  }
  const isUnproven = best === undefined && archivedDay === undefined;
  const differs = count > 1 && differences.found();
  const common = { id, idKey, differs, isUnproven, isStripe, isThin, listedIn, deliveries, copies };
  if (archivedDay !== undefined || best === undefined) {
    return { ...common, target: archivedDay ?? firstDay ?? '', line: undefined };
  }

  // Where no time is claimed it is that of the earliest receipt, whichever copy's body won.
  const receipt = best.kind === 'stripe' || best.header().time !== undefined ? undefined : firstReceipt;
  const instantMs = receipt === undefined ? best.instantMs : parseInstant(receipt)!;
  const line = { bytes: archiveLine(best, receipt), instantMs, delivered: best.origin === 'delivered' };
  return { ...common, target: dayOf(instantMs), line };
}

/** Delivered before others; then, for events whose day is their copies' earliest, the earlier day. */
function rank(copy: StagedCopy, isStripe: boolean): string {
  return `${copy.origin === 'delivered' ? 0 : 1}${isStripe ? '' : copy.day}`;
}

function earlier(a: string | undefined, b: string): string {
  return a === undefined || b < a ? b : a;
}
