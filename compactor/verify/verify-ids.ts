/**
 * Whether each id is archived once, by the ids alone: of a Stripe source ever, of others within the window in which the
 * night looks them up (D-31 to D+1 around the day D of a copy).
 */
import { addDays, type Day } from '../../shared/clock.ts';
import { lookAheadDays, lookBackDays } from '../day/copies.ts';
import { keyText, type SortBudget, sortKey } from '../staging/external-sort.ts';
import type { Breaks } from './breaks.ts';

export interface PlaceOfIds {
  readonly source: string;
  readonly day: Day;
  readonly manifest: number;
  readonly key: string;
}

export interface IdRegister {
  /** Enters the ids of one object. */
  of(place: PlaceOfIds): (id: string) => void;
  /** The source's lines were seen to be CloudEvents, whatever their ids look like. */
  hasCloudEvents(source: string): void;
  /** Adds a break for each object that repeats ids of others. */
  refuseRepeated(breaks: Breaks): void;
  close(): void;
}

/** Without the private key this tells a Stripe event from others: `evt_1NG8Du2eZvKYlo2CUI79vXWy`, `evt_test_65R9Ijk8…`. */
export const looksLikeStripe = /^evt_\w{14,}$/;

export function openIdRegister(budget: SortBudget): IdRegister {
  const sorter = budget.sorter();
  const places: PlaceOfIds[] = [];
  const cloudEventSources = new Set<string>();

  /** The places of each id that has more than one. */
  function* repeatedIds(): Generator<{ id: string; found: PlaceOfIds[] }, void, void> {
    let last = '';
    let found: PlaceOfIds[] = [];
    const id = () => keyText(last).slice(found[0]!.source.length + 1);
    for (const { key, payload } of sorter.sorted()) {
      if (key !== last) {
        if (found.length > 1) yield { id: id(), found };
        last = key;
        found = [];
      }
      found.push(places[payload.readUInt32BE()]!);
    }
    if (found.length > 1) yield { id: id(), found };
  }

  return {
    of(place) {
      const index = Buffer.alloc(4);
      index.writeUInt32BE(places.length);
      places.push(place);
      return (id) => sorter.add(sortKey(`${place.source}\0${id}`), [index]);
    },
    hasCloudEvents: (source) => cloudEventSources.add(source),
    refuseRepeated(breaks) {
      const repeats = new Map<PlaceOfIds, { id: string; other: PlaceOfIds; more: number }>();
      for (const { id, found } of repeatedIds()) {
        const isStripe = looksLikeStripe.test(id) && !cloudEventSources.has(found[0]!.source);
        found.sort((a, b) => a.manifest - b.manifest || (a.day < b.day ? -1 : 1));
        for (const [at, place] of found.entries()) {
          const other = found.slice(0, at).find((earlier) => isStripe || isSeen(place, earlier));
          if (other === undefined) continue;
          const before = repeats.get(place);
          if (before === undefined) repeats.set(place, { id, other, more: 0 });
          else before.more += 1;
        }
      }
      for (const [{ source, day, manifest, key }, { id, other, more }] of repeats) {
        const others = more === 0 ? '' : ` (and ${more} more ids)`;
        const message = `has ${id}${others}, which is archived already in ${other.key}`;
        breaks.add({ code: 'id_twice', manifest, key, message }, { source, day });
      }
    },
    close: () => sorter.close(),
  };
}

/** Whether the run that wrote the later one must have found the earlier one; within one run that of the earlier day. */
export function isSeen(later: { readonly day: Day }, earlier: { readonly day: Day }): boolean {
  return earlier.day >= addDays(later.day, -lookBackDays) && earlier.day <= addDays(later.day, lookAheadDays);
}
