/**
 * Several workers that make one night together (COMPACTOR_WORKER). Each reads the whole stream and its share of the days of
 * every list, keeps what is its own by `ownerOf`, and hands on what it listed of others. What all must know they tell each other by words in the store (words.ts): at each such
 * point every worker says its own, and goes on once it has those of all. Nothing else binds them, and no word outlives its
 * night: the manifest is the only commit point, and worker 0 alone writes it.
 *
 * An attempt is one try of all workers. The first word, its seat, is created once: whoever finds its own seat taken is
 * the next life of a worker that died, and opens the next attempt. The others, wherever they wait, leave for it, and do
 * all of their share over again. So every word of an attempt is of the same lives, and what one said is what it has in hand.
 * A worker dies
 * - before its seat: the others wait for it until their limit;
 * - after it, wherever: its objects are orphans, its words are void with the attempt. Nothing is committed;
 * - worker 0 before the manifest: the same. After it: the night is archived, and the others find that out by `commit`.
 * Another number of workers, or other settings, are another attempt as well.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ageLibrary } from '../../shared/crypto/age-library.ts';
import type { Signer } from '../../shared/crypto/signing.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { Cursor, PartitionBounds, StreamSnapshot } from '../../shared/stream/stream.ts';
import { manifestKey, readManifest, sha256Hex } from '../ledger/manifest.ts';
import { ownerOf } from './share.ts';
import { readWord, type WordPlace, writeWord } from './words.ts';

/** Which worker of how many. */
export interface Worker {
  readonly index: number;
  readonly count: number;
  /** How long it waits for the others at each point. */
  readonly waitSeconds: number;
}

export interface Crew extends Worker {
  /** The time of the night, by worker 0's clock. */
  readonly at: Date;
  /** As worker 0 saw it: what arrived later belongs to the next night. Where it has no ends, see `furthestOf`. */
  readonly snapshot: StreamSnapshot;
  /** Keys of what one worker stages for another begin with it. */
  readonly stem: string;
  /** By worker: what is handed to it is sealed for a key that is in its memory alone, and gone with it. */
  readonly recipients: readonly string[];
  /** That key of this worker. */
  readonly identity: string;
  ownerOf(source: string, id: string): number;
  isOwn(source: string, id: string): boolean;
  /** Says a word, and resolves to those of all workers, in their order. Rejects with `CrewOver`, `CrewEnded`, or as below. */
  gather<T>(step: string, word: T): Promise<T[]>;
  /** Worker 0: what it is about to write. */
  commit(said: Commit): Promise<void>;
  /** The others: resolves to that once it is written. */
  end(): Promise<Commit>;
  /** So that the others need not wait. Never rejects. */
  fail(error: unknown): Promise<void>;
}

/** What worker 0 says last: the SHA-256 of the manifest's object, null where there is nothing to say, and what it reports. */
export interface Commit {
  readonly sha256: string | null;
  readonly report: unknown;
}

/** This attempt is no more: another one was begun, or another run wrote the manifest. All is done over again. */
export class CrewOver extends Error {}

/** The night is done: worker 0 has written its manifest, or there was nothing to say. */
export class CrewEnded extends Error {
  readonly commit: Commit;

  constructor(commit: Commit) {
    super('the night is done');
    this.commit = commit;
  }
}

export interface CrewPlace extends WordPlace {
  readonly store: ObjectStore;
  readonly signer: Signer;
  readonly prefix: string;
  readonly worker: Worker;
  /** The number of the manifest to be written. */
  readonly number: number;
  /** What all workers must have alike, by the names under which it is set. */
  readonly settings: Readonly<Record<string, unknown>>;
}

interface Seat {
  /** Tells one life of a worker from the next. */
  readonly life: string;
  /** By their names, hashes of what all must have alike. */
  readonly settings: Readonly<Record<string, string>>;
  readonly at: string;
  readonly recipient: string;
  /** Of worker 0. */
  readonly snapshot?: {
    readonly id: string;
    readonly partitions: readonly TextBounds[];
    readonly madeAtMs?: number | undefined;
  };
}

/** A partition, its start and its end. */
type TextBounds = readonly [partition: string, start: string | null, end: string | null];

const firstPauseMs = 50;
const maxPauseMs = 1000;

/**
 * Takes this worker's seat and waits for the others. `now` and `snapshot` are those of the night where this is worker 0.
 * Rejects with `CrewOver`; with `workers_late`, `worker_failed` and `worker_unproven` as `gather` does too.
 */
export async function joinCrew(place: CrewPlace, now: Date, snapshot: StreamSnapshot): Promise<Crew> {
  const { store, prefix, worker, number } = place;
  const { index, count } = worker;
  const folder = `${prefix}workers/${String(number).padStart(8, '0')}/`;
  const settings = hashesOf({ 'COMPACTOR_WORKER (how many there are)': count, ...place.settings });
  const { generateIdentity, identityToRecipient } = ageLibrary();
  const identity = await generateIdentity();
  const bounds = textOf(snapshot);
  const own: Seat = {
    life: randomUUID(),
    settings,
    at: now.toISOString(),
    recipient: await identityToRecipient(identity),
    ...(index === 0 ? { snapshot: bounds } : {}),
  };
  const attempt = await takeSeat();
  // Dies here: whoever waits for this worker waits until its next life, or the limit.

  const keyOf = (who: number, step: string, of = attempt) => `${stemOf(of)}${who}-${step}.jsonl`;
  const everyone = Array.from({ length: count }, (_, who) => who);
  const seats = await wait<Seat>(everyone.map((who) => keyOf(who, 'seat')));
  for (const [who, seat] of seats.entries()) {
    if (differing(seat).length > 0) throw new CrewOver(otherSettings(who, seat));
  }
  const [leader] = seats as [Seat];

  function stemOf(of: number): string {
    return `${folder}${String(of).padStart(4, '0')}/`;
  }

  async function takeSeat(): Promise<number> {
    for (;;) {
      let newest = 1;
      const taken: string[] = [];
      for await (const key of store.list(folder)) {
        newest = Math.max(newest, attemptOf(key, folder));
        taken.push(key);
      }
      const ofNewest = taken.filter((key) => key.startsWith(stemOf(newest)));
      const isFree = !ofNewest.includes(`${stemOf(newest)}${index}-seat.jsonl`) && (await isOpen(ofNewest));
      const of = isFree ? newest : newest + 1;
      if ((await writeWord(place, `${stemOf(of)}${index}-seat.jsonl`, own)) === 'said') return of;
    }
  }

  /** Whether one may still come to this attempt: the others have the same settings, and have not given up since. */
  async function isOpen(words: readonly string[]): Promise<boolean> {
    if (words.some((key) => key.endsWith('-failed.jsonl'))) return false;
    for (const key of words.filter((key) => key.endsWith('-seat.jsonl'))) {
      const seat = await readWord<Seat>(place, key);
      if (differing(seat).length > 0 || Date.parse(seat.at) + worker.waitSeconds * 1000 < now.getTime()) return false;
    }
    return true;
  }

  /** The names of what a worker has otherwise than this one. */
  function differing(seat: Seat): string[] {
    return Object.keys(settings).filter((name) => seat.settings[name] !== settings[name]);
  }

  function otherSettings(who: number, seat: Seat): string {
    return `worker ${who} has another ${differing(seat).join(', ')}`;
  }

  /** Who began that attempt. This life goes on: where its own seat is taken there, another has its number. */
  async function whyOver(there: ReadonlySet<string>, newest: number): Promise<string> {
    for (const key of there) {
      const who = key.startsWith(stemOf(newest)) ? /(\d+)-seat\.jsonl$/.exec(key)?.[1] : undefined;
      if (who === undefined) continue;
      const seat = await readWord<Seat>(place, key);
      if (differing(seat).length > 0) return otherSettings(Number(who), seat);
      if (Number(who) === index) return `another worker ${index} of ${count} is at work`;
    }
    return 'a worker began once more';
  }

  /** The words of these keys, once all are there. `isEnd`: then the night is done. */
  async function wait<T>(wanted: readonly string[], isEnd = false): Promise<T[]> {
    const until = performance.now() + worker.waitSeconds * 1000;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, maxPauseMs)) {
      // Asked before the words are listed: where the manifest is there, what worker 0 said of it is among them.
      const isWritten = (await store.head(manifestKey(prefix, number))) !== undefined;
      const there = new Set<string>();
      for await (const key of store.list(folder)) there.add(key);
      await refuseEnded(there, isWritten, isEnd);
      const newest = Math.max(...[...there].map((key) => attemptOf(key, folder)));
      if (newest > attempt) throw new CrewOver(await whyOver(there, newest));
      if (!isEnd && wanted.every((key) => there.has(key)))
        return Promise.all(wanted.map((key) => readWord<T>(place, key)));
      const failed = everyone.find((who) => there.has(keyOf(who, 'failed')));
      if (failed !== undefined) {
        const why = await readWord<string>(place, keyOf(failed, 'failed'));
        throw new DaybookError('worker_failed', { detail: `worker ${failed} of ${count}: ${why}` });
      }
      if (performance.now() > until) {
        const late = wanted.filter((key) => !there.has(key)).map((key) => key.slice(stemOf(attempt).length));
        const who = [...new Set(late.map((name) => name.slice(0, name.indexOf('-'))))].join(', ');
        const missing = who === '' ? 'the manifest' : `${late.join(', ')} of worker ${who} (of ${count})`;
        const detail = `after ${worker.waitSeconds} s ${missing} is not there`;
        throw new DaybookError('workers_late', { detail });
      }
      await sleep(pauseMs);
    }
  }

  /** Whether the night is done, or another run wrote the manifest. */
  async function refuseEnded(there: ReadonlySet<string>, isWritten: boolean, isEnd: boolean): Promise<void> {
    const commits = [...there].filter((key) => key.endsWith('/0-commit.jsonl'));
    if (!isWritten && !(isEnd && commits.includes(keyOf(0, 'commit')))) return;
    const sha256 = isWritten ? sha256Hex(await readManifest(store, manifestKey(prefix, number))) : null;
    for (const said of commits) {
      const commit = await readWord<Commit>(place, said);
      // Of another attempt too: then this worker came when all had been said.
      if (commit.sha256 === sha256 && (isWritten || said === keyOf(0, 'commit'))) throw new CrewEnded(commit);
    }
    if (isWritten) throw new CrewOver('another run wrote the manifest');
  }

  async function say(step: string, word: unknown): Promise<void> {
    if ((await writeWord(place, keyOf(index, step), word)) === 'taken') throw new CrewOver(`${step} was said before`);
  }

  return {
    ...worker,
    at: new Date(leader.at),
    snapshot: snapshotOf(leader, worker),
    stem: `${stemOf(attempt)}${index}-`,
    recipients: seats.map(({ recipient }) => recipient),
    identity,
    ownerOf: (source, id) => ownerOf(source, id, count),
    isOwn: (source, id) => ownerOf(source, id, count) === index,
    async gather<T>(step: string, word: T) {
      await say(step, word);
      // Dies here: the others have this word, and never the next one. They wait for the next attempt.
      return wait<T>(everyone.map((who) => keyOf(who, step)));
    },
    commit: (said) => say('commit', said),
    async end() {
      try {
        await wait([], true);
      } catch (error) {
        if (error instanceof CrewEnded) return error.commit;
        throw error;
      }
      throw new CrewOver('the night has no end');
    },
    async fail(error) {
      // Of another's failure all have heard.
      if (error instanceof DaybookError && error.code === 'worker_failed') return;
      await say('failed', messageOf(error)).catch(() => {});
    },
  };
}

function hashesOf(settings: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [name, sha256Hex(Buffer.from(JSON.stringify(value ?? null)))]),
  );
}

function attemptOf(key: string, folder: string): number {
  return Number(/^(\d{4})\//.exec(key.slice(folder.length))?.[1] ?? 0);
}

function textOf({ id, partitions, madeAtMs }: StreamSnapshot): NonNullable<Seat['snapshot']> {
  const text = (cursor: Cursor | undefined) => (cursor === undefined ? null : String(cursor));
  const bounds = [...partitions].map(([partition, { start, end }]) => {
    if (end === undefined && madeAtMs === undefined) {
      const detail =
        'the snapshots of this stream have neither ends nor their time, so that workers cannot read alike: run without COMPACTOR_WORKER';
      throw new DaybookError('usage', { detail });
    }
    return [partition, text(start), text(end)] as const;
  });
  return { id, partitions: bounds, madeAtMs };
}

/** Each worker begins with other partitions: of some streams what all ask for at once each gets more slowly. */
function snapshotOf({ snapshot }: Seat, { index, count }: Worker): StreamSnapshot {
  const { id, partitions, madeAtMs } = snapshot!;
  const first = Math.floor((index * partitions.length) / count);
  const bounds = ([partition, start, end]: TextBounds): [string, PartitionBounds] => [
    partition,
    { ...(start === null ? {} : { start: BigInt(start) }), ...(end === null ? {} : { end: BigInt(end) }) },
  ];
  return {
    id,
    partitions: new Map([...partitions.slice(first), ...partitions.slice(0, first)].map(bounds)),
    ...(madeAtMs === undefined ? {} : { madeAtMs }),
  };
}
