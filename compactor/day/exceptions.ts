/**
 * What a run has to say of a day beside its lines, by id: one sealed object beside the day's parts.
 *
 * Its lines and their order are those of FORMAT.md, Exceptions. A body over 8 MiB, which ingest never takes, is told by its
 * `sha256` instead, so that a line stays one that can be read. Of what an earlier run archived and is not listed the id alone
 * is known here.
 *
 * A run that lists the day names all of the day that are missing and not listed, those of earlier runs too: the newest
 * such object stands for the day. Any other run names what it adds. Of differing copies each run names its own.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Day } from '../../shared/clock.ts';
import { compareCodePoints } from '../../shared/json/canonical-json.ts';
import { type DayEntry, type ExceptionsObject, sha256Hex } from '../ledger/manifest.ts';
import type { Problem } from '../night.ts';
import { openSealed, type Sealing } from '../objects/seal-object.ts';
import { storeObject } from '../objects/store-object.ts';
import { type Sorter, sortKey } from '../staging/external-sort.ts';
import type { StagedCopy } from '../staging/staged-copy.ts';
import type { Listing } from '../stripe/list-days.ts';
import { idsOf } from './archived-ids.ts';
import { type Closing, folderOf } from './closing.ts';
import type { DecidedEvent } from './copies.ts';
import { contradictionOf } from './differences.ts';
import { listedBodyOf } from './thin.ts';
import type { LostEvent } from './word.ts';

export interface SourceExceptions {
  /** Takes the events in the order of their ids. */
  add(event: DecidedEvent): void | Promise<void>;
  /**
   * Writes the day's object: the entry with it, and with the count of what is not listed. `lost`: what Stripe says that it
   * delivered (word.ts), which is an error. May be called once a day.
   */
  seal(
    day: Day,
    entry: DayEntry,
    lost: readonly LostEvent[],
  ): Promise<{ entry: DayEntry; warnings: Problem[]; errors: Problem[] }>;
  /** Removes what lies in the staging folder. */
  discard(): Promise<void>;
}

interface DayExceptions {
  differing: number;
  /** Ids of which Stripe's list tells something else than a delivery; the first of them by name. */
  readonly contradicted: string[];
  contradictions: number;
  /** The lines of what is not listed, by the sort keys of their ids. */
  readonly notListed: Sorter;
  /** Sort keys of archived ids that this run's list has in their own day. */
  readonly listedAgain: Sorter;
  /** The lines of what the list tells of thin events, by the sort keys of their ids. */
  readonly listedBodies: Sorter;
  sealing: Sealing | undefined;
}

const maxBodyBytes = 8 * 1024 * 1024;
/** A warning names so many ids; the object has all of them. */
const maxNamed = 10;

export function openExceptions(
  { night, name, states, budget, isPruned }: Closing,
  listing: Listing | undefined,
): SourceExceptions {
  const days = new Map<Day, DayExceptions>();
  const reasons = new Map([...(listing?.missing.values() ?? [])].flatMap((ofDay) => [...ofDay]));
  /** What the day's list names and could not be had of it is in the list all the same. */
  const isNamed = (day: Day, id: string) => listing?.missing.get(day)?.has(id) === true;
  const isListed = (day: Day) => listing?.listedAt.has(day) === true;
  const isCounted = (day: Day) => isListed(day) || (states.get(day)?.counts.notListed ?? null) !== null;

  function of(day: Day): DayExceptions {
    let found = days.get(day);
    if (found === undefined) {
      found = {
        differing: 0,
        contradicted: [],
        contradictions: 0,
        notListed: budget.sorter(),
        listedAgain: budget.sorter(),
        listedBodies: budget.sorter(),
        sealing: undefined,
      };
      days.set(day, found);
    }
    return found;
  }

  async function write(day: Day, line: string | Buffer): Promise<void> {
    const found = of(day);
    found.sealing ??= openSealed({
      path: join(night.stagingDirectory, `${day}-exceptions-${randomBytes(6).toString('hex')}`),
      recipients: night.recipients,
    });
    await found.sealing.write(line);
  }

  async function addDiffering(event: DecidedEvent): Promise<void> {
    const contradiction = contradictionOf(event.copies, event.isStripe);
    if (contradiction === undefined) return;
    const { copies, differ, isListAgainstDelivery } = contradiction;
    const found = of(event.target);
    found.differing += 1;
    if (isListAgainstDelivery) {
      found.contradictions += 1;
      if (found.contradicted.length < maxNamed) found.contradicted.push(event.id);
    }
    await write(event.target, JSON.stringify({ copies: copies.map(sideOf), differ, id: event.id, kind: 'differing' }));
  }

  /**
   * What the list tells of a notification that was delivered: with the run that archives it, or, where no list had been
   * asked by then, with the first that lists its day. Other runs list it again.
   */
  function addListedBody(event: DecidedEvent): void {
    const { id, idKey, line, target } = event;
    const isFirst = line === undefined ? (states.get(target)?.listedAt ?? null) === null : line.delivered;
    const body = isFirst ? listedBodyOf(event) : undefined;
    if (body === undefined) return;
    const told = body.length > maxBodyBytes ? { id, kind: 'listed_body', sha256: sha256Hex(body) } : undefined;
    of(target).listedBodies.add(idKey, [
      Buffer.from(JSON.stringify(told ?? { body: body.toString(), id, kind: 'listed_body' })),
    ]);
  }

  /** Those of the earlier parts that this run's list does not have. */
  async function addEarlier(day: Day): Promise<void> {
    const { listedAgain, notListed } = of(day);
    for (const { ids } of states.get(day)?.parts ?? []) {
      const listed = listedAgain.sorted();
      try {
        let next = listed.next();
        for await (const id of idsOf(night.store, ids)) {
          const key = sortKey(id);
          while (next.done !== true && next.value.key < key) next = listed.next();
          if ((next.done !== true && next.value.key === key) || isNamed(day, id)) continue;
          notListed.add(key, [Buffer.from(notListedLine(id))]);
        }
      } finally {
        listed.return();
      }
    }
  }

  function warningsOf(day: Day, { verdict, counts, exceptions }: DayEntry): Problem[] {
    const warnings: Problem[] = [];
    const say = (code: Problem['code'], message: string) => warnings.push({ code, source: name, day, message });
    const { contradicted, contradictions } = of(day);
    if (contradictions > 0) {
      const ids = firstOf(contradicted, contradictions);
      say(
        'copies_differ',
        `Stripe's list tells of ${ids} something else than was delivered: both sides are in ${exceptions?.key}`,
      );
    }
    // The list of a settled day covers the account and the mode of what was delivered, and yet does not have it.
    if (verdict !== 'complete' || counts.notListed === null || counts.notListed === 0) return warnings;
    const named = exceptions?.listedAt == null ? '' : `: by id in ${exceptions.key}`;
    say(
      'delivered_not_listed',
      `${counts.notListed} of ${counts.delivered + counts.recovered} events are not in Stripe's list${named}`,
    );
    return warnings;
  }

  function errorsOf(day: Day, lost: readonly LostEvent[], exceptions: ExceptionsObject | null): Problem[] {
    if (lost.length === 0) return [];
    const ids = firstOf(
      lost.slice(0, maxNamed).map(({ id }) => id),
      lost.length,
    );
    const message = `Stripe says that ${ids} ${lost.length === 1 ? 'was' : 'were'} answered 2xx, and no delivery is here: by id in ${exceptions?.key}`;
    return [{ code: 'lost_after_2xx', source: name, day, message }];
  }

  return {
    add(event) {
      const { id, idKey, line, listedIn, target } = event;
      if (listedIn.has(target)) {
        if (line === undefined && isListed(target)) of(target).listedAgain.add(idKey, []);
      } else if (line !== undefined && isCounted(target) && !isNamed(target, id)) {
        of(target).notListed.add(idKey, [Buffer.from(notListedLine(id, line.bytes))]);
      }
      if (event.isThin) addListedBody(event);
      if (event.differs) return addDiffering(event);
    },

    async seal(day, entry, lost) {
      const before = states.get(day);
      const listedAt = listing?.listedAt.get(day) ?? null;
      const isNew = (id: string) => listedAt !== null || before?.missing.includes(id) !== true;
      const missing = entry.missing.filter(isNew).sort(compareCodePoints);
      if (listedAt !== null && (entry.counts.notListed ?? 0) > 0) await addEarlier(day);
      const { differing, notListed, listedBodies } = of(day);
      for (const { payload } of listedBodies.sorted()) await write(day, payload);
      for (const { id, type, created } of lost) {
        await write(day, JSON.stringify({ created, id, kind: 'lost_after_2xx', type }));
      }
      for (const id of missing) {
        const why = reasons.get(id) ?? 'an earlier list named it';
        await write(day, JSON.stringify({ id, kind: 'missing', why }));
      }
      for (const { payload } of notListed.sorted()) await write(day, payload);
      const known = listedAt === null ? entry.counts.notListed : 0;
      const counts = { ...entry.counts, notListed: known === null ? null : known + notListed.entries };
      const sealed = await of(day).sealing?.finish();
      of(day).sealing = undefined;
      let exceptions: ExceptionsObject | null = null;
      if (sealed !== undefined) {
        const stem = `${folderOf(night, name, day)}/${day}-`;
        const key = await storeObject(night.store, stem, '.exceptions.jsonl.gz.age', sealed, isPruned);
        const ofKinds = {
          ...{ notListed: notListed.entries, differing, missing: missing.length },
          ...(listedBodies.entries > 0 ? { listedBody: listedBodies.entries } : {}),
          ...(lost.length > 0 ? { lostAfter2xx: lost.length } : {}),
        };
        exceptions = { key, sha256: sealed.sha256, listedAt, counts: ofKinds };
      }
      // Dies here: the object is an orphan like the day's parts; the repeat writes its own under the next name.
      const whole = { ...entry, counts, exceptions };
      return { entry: whole, warnings: warningsOf(day, whole), errors: errorsOf(day, lost, exceptions) };
    },

    async discard() {
      for (const { notListed, listedAgain, listedBodies, sealing } of days.values()) {
        notListed.close();
        listedAgain.close();
        listedBodies.close();
        await sealing?.abort();
      }
    },
  };
}

/** The first ids by name, and how many more there are. */
function firstOf(ids: readonly string[], count: number): string {
  return `${ids.join(', ')}${count > ids.length ? ` and ${count - ids.length} more` : ''}`;
}

function sideOf(copy: StagedCopy) {
  const { body, origin } = copy;
  const receivedat = origin === 'listed' ? undefined : copy.header().receivedat;
  if (body.length > maxBodyBytes) return { origin, receivedat, sha256: sha256Hex(body) };
  return { body: body.toString(), origin, receivedat };
}

/** `archived`: its line, where this run has it. */
function notListedLine(id: string, archived?: Buffer): string {
  const { created, time, type } = archived === undefined ? {} : JSON.parse(archived.toString());
  return JSON.stringify({ created: created ?? time, id, kind: 'not_listed', type });
}
