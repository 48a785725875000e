/**
 * Thin events beside what belongs to them. A thin event and the snapshot event that its `snapshot_event` names are one
 * fact (twins): where one of them was delivered, the other was not missed, though only the list brought it. And what was
 * delivered of a thin event is a notification: what it tells in `data` and `changes` is in the list alone.
 *
 * Of twins no more is known than what one run has in hand: both are made at one time, so mostly one night has both.
 */
import type { Day } from '../../shared/clock.ts';
import { type Sorter, sortKey } from '../staging/external-sort.ts';
import { linesHanded, openParcels } from '../workers/hand.ts';
import type { Closing } from './closing.ts';
import type { DecidedEvent } from './copies.ts';

export interface Twins {
  /** Takes a thin event that this run archives, or brings deliveries of. */
  add(event: DecidedEvent): Promise<void>;
  /** Of several workers: what was taken goes to whose the snapshot event is. */
  exchange(): Promise<void>;
  /**
   * Goes through the run's events once more, in the order of their ids, and tells of each line that nobody delivered while
   * its twin was.
   */
  find(
    events: () => Iterable<DecidedEvent>,
    isOfRun: (day: Day) => boolean,
    found: (day: Day, id: string) => void,
  ): void;
  close(): Promise<void>;
}

export function openTwins({
  night,
  name,
  source,
  budget,
}: Pick<Closing, 'night' | 'name' | 'source' | 'budget'>): Twins {
  const { crew } = night;
  const parcels = openParcels(night, `${name}-twins`);
  let pairs: Sorter | undefined;
  const note = (snapshot: string, told: PairTold) => {
    pairs ??= budget.sorter();
    pairs.add(sortKey(snapshot), [Buffer.from(JSON.stringify(told))]);
  };
  return {
    async add(event) {
      const snapshot = snapshotOf(event);
      if (snapshot === undefined) return;
      const told = { day: event.target, id: event.id, delivered: isDelivered(event), recovered: isRecovered(event) };
      const owner = crew?.ownerOf(name, snapshot);
      if (owner === crew?.index) note(snapshot, told);
      else await parcels.write(owner!, JSON.stringify([snapshot, told]));
    },
    async exchange() {
      if (crew === undefined || source?.kind === 'events') return;
      const told = await crew.gather(`${name}-twins`, await parcels.send());
      for await (const line of linesHanded(night.store, crew, told.flat())) {
        note(...(JSON.parse(line) as [string, PairTold]));
      }
    },
    find(events, isOfRun, found) {
      if (pairs === undefined) return;
      const sorted = pairs.sorted();
      let pair = sorted.next();
      for (const event of events()) {
        while (pair.done !== true && pair.value.key < event.idKey) pair = sorted.next();
        if (pair.done === true) break;
        if (pair.value.key !== event.idKey || !isOfRun(event.target)) continue;
        const [wasDelivered, wasRecovered] = [isDelivered(event), isRecovered(event)];
        let isTwin = false;
        for (; pair.done !== true && pair.value.key === event.idKey; pair = sorted.next()) {
          const thin = JSON.parse(pair.value.payload.toString()) as PairTold;
          isTwin ||= thin.delivered && wasRecovered;
          if (thin.recovered && wasDelivered) found(thin.day, thin.id);
        }
        if (isTwin) found(event.target, event.id);
      }
      sorted.return();
    },
    async close() {
      pairs?.close();
      await parcels.discard();
    },
  };
}

interface PairTold {
  readonly day: Day;
  readonly id: string;
  readonly delivered: boolean;
  readonly recovered: boolean;
}

function isDelivered(event: DecidedEvent): boolean {
  for (const _ of event.deliveries()) return true;
  return false;
}

function isRecovered({ line }: DecidedEvent): boolean {
  return line !== undefined && !line.delivered;
}

/** The id of the snapshot event that a copy of a thin one names. */
function snapshotOf(event: DecidedEvent): string | undefined {
  for (const { body } of event.copies()) {
    const { snapshot_event: id } = JSON.parse(body.toString());
    if (typeof id === 'string' && id !== '' && id !== event.id) return id;
  }
  return undefined;
}

/** The body of a thin event as the list has it, where it tells more than the notification that was delivered. */
export function listedBodyOf(event: DecidedEvent): Buffer | undefined {
  for (const { origin, body } of event.copies()) {
    if (origin !== 'listed') continue;
    const { data, changes } = JSON.parse(body.toString());
    if (data != null || changes != null) return body;
  }
  return undefined;
}
