/** Everything that can be told of an event by its id, and what cannot be told without the private key. */
import { DaybookError } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import { withTimeLimit } from '../../shared/program/time-limit.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { EventStreamReader } from '../../shared/stream/stream.ts';
import type { ArchiveSearch, EventQuery, EventSearch, FoundRecord, SpoolSearch, StreamSearch } from './event-shapes.ts';
import { findArchived } from './find-archived.ts';
import { findInStream, startStreamSearch, streamTrouble } from './find-in-stream.ts';
import type { KnownArchive } from './ledger-view.ts';
import { apiFormat } from './shapes.ts';

export interface SearchPlaces {
  readonly store: ObjectStore;
  readonly known: KnownArchive;
  openStream(): Promise<EventStreamReader>;
  /** What each configured ingest says of its spool. Ends in time, and does not reject. */
  searchSpools(id: string): Promise<readonly SpoolSearch[]>;
}

/** Until then each place has told what it found; opening a connection may take a little longer. */
const searchLimitSeconds = 8;
const graceMs = 2_000;

/** Looks in all places at once. Does not reject because of one of them: that one says what is wrong. */
export async function findEvent(places: SearchPlaces, query: EventQuery): Promise<EventSearch> {
  const endMs = performance.now() + searchLimitSeconds * 1000;
  const isOver = () => performance.now() > endMs;
  const { id } = query;
  const [spools, stream, archived] = await Promise.all([
    places.searchSpools(id),
    searchStream(places, id, isOver),
    findArchived(places.store, places.known, query, isOver),
  ]);
  const isFound =
    archived.events.length + archived.missing.length + stream.records.length > 0 ||
    spools.some(({ records }) => (records?.length ?? 0) > 0);
  return {
    format: apiFormat,
    archive: places.known.state,
    ...{ id, isFound, words: wordsOf(spools, stream, archived), spools, stream, archived },
    limitSeconds: searchLimitSeconds,
  };
}

async function searchStream(
  { openStream, known }: SearchPlaces,
  id: string,
  isOver: () => boolean,
): Promise<StreamSearch> {
  const search = startStreamSearch();
  const work = async () => {
    const stream = await openStream();
    try {
      await findInStream(stream, known.ledger.stream, id, isOver, search);
    } finally {
      await stream.close();
    }
  };
  try {
    await withTimeLimit(searchLimitSeconds * 1000 + graceMs, work());
  } catch (error) {
    search.trouble = streamTrouble(error);
  }
  // What hangs may go on to fill it: what is told is what was found by now.
  return { ...search, records: [...search.records] };
}

function wordsOf(spools: readonly SpoolSearch[], stream: StreamSearch, archived: ArchiveSearch): string[] {
  const { events, missing } = archived;
  return [
    ...(events.length > 0 ? events.map(archivedInWords) : [notArchivedInWords(archived)]),
    ...missing.map(
      ({ source, day }) => `Stripe names it among the events of ${source} ${day}, and it could not be had.`,
    ),
    ...streamInWords(stream, events.length > 0),
    ...spools.flatMap(spoolInWords),
  ];
}

function archivedInWords({
  source,
  day,
  verdict,
  manifest,
  archivedAt,
  origin,
  pruned,
}: ArchiveSearch['events'][number]): string {
  const how = {
    delivered: 'A delivery brought it.',
    recovered: "It was recovered: nobody had delivered it by then, and Stripe's list had it.",
    unknown:
      'That manifest added events of both kinds, delivered and recovered: only who has the private key can tell which this is (restore --id).',
  }[origin];
  const gone = pruned === null ? '' : ` The event itself is deleted: manifest ${pruned.manifest} says so.`;
  return `It is archived in ${source} ${day} (${verdict}), by manifest ${manifest} of ${archivedAt}. ${how}${gone}`;
}

function notArchivedInWords({ looked, total, next, damaged }: ArchiveSearch): string {
  if (damaged.length > 0)
    return `It was not found in the archive, and the ids of ${counted(damaged.length, 'day')} cannot be read.`;
  if (next === null) return 'It is not archived.';
  return `It was not found in ${looked.toLocaleString('en')} of ${counted(total, 'object')} of ids: the days before ${next} were not all looked at.`;
}

function streamInWords({ records, isWaitingWhole, isWhole, trouble }: StreamSearch, isArchived: boolean): string[] {
  if (trouble !== null && records.length === 0) return [`The stream could not be asked: ${trouble.message}`];
  const deliveries = records.filter(isDelivery);
  const words = deliveries.length === 0 ? [] : [deliveriesInWords(deliveries)];
  const waiting = records.filter(({ isDone }) => !isDone).length;
  if (waiting > 0)
    words.push(`${counted(waiting, 'record')} of it ${waiting === 1 ? 'waits' : 'wait'} in the stream for the night.`);
  if (records.length === 0) {
    words.push(
      isWhole
        ? 'The stream keeps no record of it.'
        : isWaitingWhole
          ? 'No record of it waits in the stream; of the older ones not all were looked at.'
          : 'No record of it was found in that part of the stream that could be looked at in time.',
    );
  }
  if (isArchived && deliveries.length === 0) {
    words.push(
      'When it was received, by which key and how often is in the sealed deliveries of that day: it takes the private key.',
    );
  } else if (isArchived)
    words.push('What the stream no longer keeps of its deliveries is in the sealed deliveries of that day.');
  return words;
}

function deliveriesInWords(deliveries: readonly FoundRecord[]): string {
  const times = deliveries.map(({ receivedAt }) => receivedAt).sort();
  const keys = [...new Set(deliveries.map(({ keyid }) => keyid ?? 'unknown'))];
  const last = times.length > 1 ? `, the last one at ${times.at(-1)}` : '';
  return `The stream has ${counted(deliveries.length, 'deliver', 'y', 'ies')} of it: the first was received at ${times[0]}${last}, proven by the key ${keys.join(', ')}.`;
}

function isDelivery({ via }: FoundRecord): boolean {
  return via === 'webhook' || via === 'events';
}

function spoolInWords({ ingest, records, isWhole, looked, trouble }: SpoolSearch): string[] {
  if (records === null) return [`The spool of ${ingest} could not be asked: ${trouble?.message ?? 'unknown'}`];
  const dead = records.filter(({ isDeadLetter }) => isDeadLetter).length;
  const words: string[] = [];
  if (records.length > dead) words.push(`It waits in the spool of ${ingest} for the stream.`);
  if (dead > 0)
    words.push(
      `It is among the dead letters of ${ingest}: the stream did not take it (node ingest/main.ts spool export).`,
    );
  if (!isWhole && records.length === 0)
    words.push(`Of the spool of ${ingest} ${counted(looked, 'record')} could be looked at in time.`);
  return words;
}

/**
 * Lets so many searches run at once: each reads for seconds.
 * @throws DaybookError `overloaded`
 */
export function searchGate(width: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  return async (work) => {
    if (running >= width) {
      throw new DaybookError('overloaded', {
        detail: 'Other searches are under way.',
        hint: 'Ask again when they have ended: each takes seconds at most.',
      });
    }
    running += 1;
    try {
      return await work();
    } finally {
      running -= 1;
    }
  };
}
