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
import { isOwn, ownParts, type Problem } from '../night.ts';
import { openSealed, type Sealing } from '../objects/seal-object.ts';
import { storeObject } from '../objects/store-object.ts';
import { type Sorter, sortKey } from '../staging/external-sort.ts';
import type { StagedCopy } from '../staging/staged-copy.ts';
import type { Listing } from '../stripe/list-days.ts';
import { type Handed, linesHanded, openParcels } from '../workers/hand.ts';
import { idsOf } from './archived-ids.ts';
import { type Closing, folderOf } from './closing.ts';
import type { DecidedEvent } from './copies.ts';
import { contradictionOf } from './differences.ts';
import { listedBodyOf } from './thin.ts';
import type { LostEvent } from './word.ts';

export interface SourceExceptions {
  add(event: DecidedEvent): void;
  /** Of several workers: what this one has against the day, in the store for worker 0, with what it has to say of it. */
  hand(day: Day): Promise<HandedExceptions | undefined>;
  /** Worker 0: takes that of another one. */
  take(day: Day, handed: HandedExceptions): Promise<void>;
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
  discard(): void;
}

export interface HandedExceptions {
  /** Lines of the day's object. */
  readonly parcels: readonly Handed[];
  readonly contradicted: readonly string[];
  readonly contradictions: number;
}

type ExceptionKind = 'differing' | 'listed_body' | 'lost_after_2xx' | 'missing' | 'not_listed';

interface DayExceptions {
  differing: number;
  notListed: number;
  listedBody: number;
  /** Ids of which Stripe's list tells something else than a delivery; the first of them by name. */
  readonly contradicted: string[];
  contradictions: number;
  /** The lines, by their kinds and ids. */
  readonly lines: Sorter;
  /** Sort keys of archived ids that this run's list has in their own day. */
  readonly listedAgain: Sorter;
  hasEarlier: boolean;
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
        notListed: 0,
        listedBody: 0,
        contradicted: [],
        contradictions: 0,
        lines: budget.sorter(),
        listedAgain: budget.sorter(),
        hasEarlier: false,
      };
      days.set(day, found);
    }
    return found;
  }

  function note(day: Day, kind: ExceptionKind, idKey: string, line: string | Buffer): void {
    const found = of(day);
    found.lines.add(`${kind}\0${idKey}`, [Buffer.from(line)]);
    if (kind === 'differing') found.differing += 1;
    else if (kind === 'not_listed') found.notListed += 1;
    else if (kind === 'listed_body') found.listedBody += 1;
  }

  async function writeLines(day: Day, write: Sealing['write']): Promise<void> {
    for (const { payload } of of(day).lines.sorted()) {
      const full = write(payload);
      if (full !== undefined) await full;
    }
  }

  function addDiffering(event: DecidedEvent): void {
    const contradiction = contradictionOf(event.copies, event.isStripe);
    if (contradiction === undefined) return;
    const { copies, differ, isListAgainstDelivery } = contradiction;
    const found = of(event.target);
    if (isListAgainstDelivery) {
      found.contradictions += 1;
      if (found.contradicted.length < maxNamed) found.contradicted.push(event.id);
    }
    const line = JSON.stringify({ copies: copies.map(sideOf), differ, id: event.id, kind: 'differing' });
    note(event.target, 'differing', event.idKey, line);
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
    note(target, 'listed_body', idKey, JSON.stringify(told ?? { body: body.toString(), id, kind: 'listed_body' }));
  }

  /** Those of the earlier parts that this run's list does not have. */
  async function addEarlier(day: Day): Promise<void> {
    const { listedAgain } = of(day);
    of(day).hasEarlier = true;
    for (const { ids } of ownParts(night, states.get(day)?.parts ?? [])) {
      const listed = listedAgain.sorted();
      try {
        let next = listed.next();
        for await (const id of idsOf(night.store, ids)) {
          const key = sortKey(id);
          while (next.done !== true && next.value.key < key) next = listed.next();
          if ((next.done !== true && next.value.key === key) || isNamed(day, id) || !isOwn(night, name, id)) continue;
          note(day, 'not_listed', key, notListedLine(id));
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
        note(target, 'not_listed', idKey, notListedLine(id, line.bytes));
      }
      if (event.isThin) addListedBody(event);
      if (event.differs) addDiffering(event);
    },

    async hand(day) {
      const { crew } = night;
      if (crew === undefined) return undefined;
      if (isListed(day)) await addEarlier(day);
      const { lines, contradicted, contradictions } = of(day);
      if (crew.index === 0 || lines.entries === 0) return undefined;
      const parcels = openParcels(night, `${name}-${day}-exceptions`);
      try {
        await writeLines(day, (line) => parcels.write(0, line));
        return { parcels: await parcels.send(), contradicted, contradictions };
      } finally {
        await parcels.discard();
      }
    },

    async take(day, { parcels, contradicted, contradictions }) {
      const found = of(day);
      for await (const line of linesHanded(night.store, night.crew!, parcels)) {
        const { kind, id } = JSON.parse(line);
        note(day, kind, sortKey(id), line);
      }
      found.contradicted.push(...contradicted.slice(0, maxNamed - found.contradicted.length));
      found.contradictions += contradictions;
    },

    async seal(day, entry, lost) {
      const before = states.get(day);
      const listedAt = listing?.listedAt.get(day) ?? null;
      const isNew = (id: string) => listedAt !== null || before?.missing.includes(id) !== true;
      const missing = entry.missing.filter(isNew).sort(compareCodePoints);
      if (listedAt !== null && (entry.counts.notListed ?? 0) > 0 && !of(day).hasEarlier) await addEarlier(day);
      for (const { id, type, created } of lost) {
        note(day, 'lost_after_2xx', sortKey(id), JSON.stringify({ created, id, kind: 'lost_after_2xx', type }));
      }
      for (const id of missing) {
        const why = reasons.get(id) ?? 'an earlier list named it';
        note(day, 'missing', sortKey(id), JSON.stringify({ id, kind: 'missing', why }));
      }
      const { differing, notListed, listedBody, lines } = of(day);
      const known = listedAt === null ? entry.counts.notListed : 0;
      const counts = { ...entry.counts, notListed: known === null ? null : known + notListed };
      let exceptions: ExceptionsObject | null = null;
      if (lines.entries > 0) {
        const path = join(night.stagingDirectory, `${day}-exceptions-${randomBytes(6).toString('hex')}`);
        const sealing = openSealed({ path, recipients: night.recipients });
        const sealed = await writeLines(day, sealing.write).then(sealing.finish, async (error) => {
          await sealing.abort();
          throw error;
        });
        const stem = `${folderOf(night, name, day)}/${day}-`;
        const key = await storeObject(night.store, stem, '.exceptions.jsonl.gz.age', sealed, isPruned);
        const ofKinds = {
          ...{ notListed, differing, missing: missing.length },
          ...(listedBody > 0 ? { listedBody } : {}),
          ...(lost.length > 0 ? { lostAfter2xx: lost.length } : {}),
        };
        exceptions = { key, sha256: sealed.sha256, listedAt, counts: ofKinds };
      }
      // Dies here: the object is an orphan like the day's parts; the repeat writes its own under the next name.
      const whole = { ...entry, counts, exceptions };
      return { entry: whole, warnings: warningsOf(day, whole), errors: errorsOf(day, lost, exceptions) };
    },

    discard() {
      for (const { lines, listedAgain } of days.values()) {
        lines.close();
        listedAgain.close();
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
