/** A night by several workers: what it takes before, between and behind the steps that each takes as if it were alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DaybookError } from '../shared/errors.ts';
import type { Cursor, StreamSnapshot } from '../shared/stream/stream.ts';
import type { RunResult } from './assemble-manifest.ts';
import { factsOf, type StagedSource } from './day/staged-source.ts';
import { type CursorRange, without } from './ledger/cursor-ranges.ts';
import { addManifest, checkManifest, type LedgerInLoading, openManifest } from './ledger/ledger.ts';
import { type Hole, type Manifest, manifestKey, type QuarantineObject, readManifest } from './ledger/manifest.ts';
import type { Lost, Night, NightReport, Problem } from './night.ts';
import { failureOf, reportOf } from './night-report.ts';
import type { RecordRules } from './stream/read-stream.ts';
import { endsOf } from './stream/reading.ts';
import { type Commit, type Crew, CrewEnded, CrewOver, joinCrew } from './workers/crew.ts';

/** `Lost`: another attempt was begun, or another run wrote the manifest. Rejects as `joinCrew` and the steps do. */
export async function closeTogether(
  night: Night,
  ledger: LedgerInLoading,
  snapshot: StreamSnapshot,
  close: (night: Night, ledger: LedgerInLoading, snapshot: StreamSnapshot) => Promise<NightReport | Lost>,
): Promise<NightReport | Lost> {
  const { store, signer, prefix, clock } = night;
  const number = (ledger.head?.number ?? 0) + 1;
  const place = { store, signer, prefix, worker: night.worker!, number, settings: settingsOf(night, snapshot) };
  const stagingDirectory = mkdtempSync(join(night.stagingDirectory, 'attempt-'));
  let crew: Crew | undefined;
  try {
    crew = await joinCrew(place, clock.now(), snapshot);
    const { at } = crew;
    return await close({ ...night, crew, clock: { now: () => at }, stagingDirectory }, ledger, crew.snapshot);
  } catch (error) {
    if (error instanceof CrewEnded) return endedReport(night, ledger, error.commit);
    if (error instanceof CrewOver) return { lost: error.message };
    await crew?.fail(error);
    throw error;
  } finally {
    rmSync(stagingDirectory, { recursive: true, force: true });
  }
}

/**
 * What must be alike: else two workers would not come to the same points, or one would not find its share. By the names under
 * which they are set.
 */
function settingsOf(night: Night, { id }: StreamSnapshot): Readonly<Record<string, unknown>> {
  const { dayPath, lagSeconds, days, force, recipients, streamKeys, acceptUnsealedBefore, acceptRestored } = night;
  const sources = night.sources.map(({ name, kind, listing }) => {
    const { accounts, mode, keyMode, thinEvents } = listing ?? {};
    return { name, kind, isListed: listing !== undefined, accounts, mode, keyMode, thinEvents };
  });
  return {
    DAYBOOK_STREAM: id,
    DAYBOOK_DAY_PATH: dayPath,
    COMPACTOR_LAG_SECONDS: lagSeconds,
    DAYBOOK_SOURCES: sources.sort((a, b) => (a.name < b.name ? -1 : 1)),
    COMPACTOR_RECIPIENTS: recipients.map((recipient) => (typeof recipient === 'string' ? recipient : 'ssh-rsa')).sort(),
    DAYBOOK_STREAM_KEY: streamKeys?.map(({ keyId }) => keyId).sort(),
    '--force': force,
    '--day': days && [...days].sort(),
    '--accept-unsealed-before': acceptUnsealedBefore,
    '--accept-restored': acceptRestored,
  };
}

/** Which days a source has, and what kinds of events, is so for all workers if it is for one. */
export async function joinStaged(
  { crew }: Night,
  staged: Map<string, StagedSource>,
  open: () => StagedSource,
): Promise<void> {
  if (crew === undefined) return;
  const own = [...staged].map(([name, source]) => [name, factsOf(source)] as const);
  for (const [name, facts] of (await crew.gather('staged', own)).flat()) {
    const source = staged.get(name) ?? open();
    staged.set(name, source);
    source.join(facts);
  }
}

/**
 * Undefined where the snapshot has the ends at which all end. Else each worker ends by its time, where it may be that one
 * ends a record before the other (it asked a moment sooner, or two clocks differ): all then go on to where the one is
 * that came furthest. There the stream has a record, in the same place for each.
 */
export function furthestOf({ crew }: Night, { partitions }: StreamSnapshot): RecordRules['furthest'] {
  if (crew === undefined || [...partitions.values()].every(({ end }) => end !== undefined)) return undefined;
  return async (ends) => {
    const furthest = new Map<string, Cursor>();
    for (const [partition, text] of (await crew.gather('read', textsOf(ends))).flat()) {
      const end = BigInt(text);
      if (end > (furthest.get(partition) ?? -1n)) furthest.set(partition, end);
    }
    return furthest;
  };
}

/** Of cursors, in one order whoever says them. */
function textsOf(ends: ReadonlyMap<string, Cursor>): (readonly [partition: string, end: string])[] {
  return [...ends].map(([partition, end]) => [partition, String(end)] as const).sort(([a], [b]) => (a < b ? -1 : 1));
}

type Pending = ReadonlyMap<string, readonly CursorRange[]>;
type PendingText = readonly (readonly [partition: string, ranges: readonly (readonly [string, string])[]])[];

/** The last word of a worker before the manifest. */
interface Ended {
  /** How far each partition was read. */
  readonly ends: ReturnType<typeof textsOf>;
  readonly holes: readonly Hole[];
  readonly sources: readonly {
    readonly name: string;
    readonly pending: PendingText;
    readonly errors: readonly Problem[];
    readonly warnings: readonly Problem[];
  }[];
  readonly quarantine: {
    readonly objects: readonly QuarantineObject[];
    readonly pending: PendingText;
    readonly failure: readonly Problem[];
  };
}

/**
 * With what all workers have. Which records wait each of them sees alike, and how far was read they tell each other: what
 * one had read and another had not would be lost or doubled, so that all begin over again. Then `CrewOver`.
 */
export async function sumOfRuns(night: Night, run: RunResult): Promise<RunResult> {
  if (night.crew === undefined) return run;
  const { reading, closed, quarantined } = run;
  const words = await night.crew.gather<Ended>('ended', {
    ends: textsOf(endsOf(reading.partitions)),
    holes: reading.holes,
    sources: closed.map(({ name, pending, errors, warnings }) => {
      return { name, pending: textOf(pending), errors, warnings };
    }),
    quarantine: {
      objects: quarantined.objects,
      pending: textOf(quarantined.pending),
      failure: failureOf(quarantined),
    },
  });
  if (new Set(words.map(({ ends }) => JSON.stringify(ends))).size > 1) {
    throw new CrewOver('workers have read the stream to different ends');
  }
  const problems = words.flatMap(({ quarantine }) => quarantine.failure);
  return {
    reading: { ...reading, holes: words.reduce<readonly Hole[]>((holes, word) => withHoles(holes, word.holes), []) },
    closed: closed.map((source) => {
      const told = words.flatMap(({ sources }) => sources.filter(({ name }) => name === source.name));
      return {
        ...source,
        pending: rangesOf(told.map(({ pending }) => pending)),
        errors: eachOnce(told.flatMap(({ errors }) => errors)),
        warnings: eachOnce(told.flatMap(({ warnings }) => warnings)),
      };
    }),
    quarantined: {
      objects: words.flatMap(({ quarantine }) => quarantine.objects),
      pending: rangesOf(words.map(({ quarantine }) => quarantine.pending)),
      ...(problems[0] === undefined
        ? {}
        : { failure: new DaybookError(problems[0].code, { detail: problems[0].message }) }),
    },
  };
}

/** What has aged out since another worker read it is a hole of the night too. */
function withHoles(known: readonly Hole[], more: readonly Hole[]): Hole[] {
  const found = [...known];
  for (const { partition, from, to, seenAt } of more) {
    const before = found.filter((hole) => hole.partition === partition);
    const ranges = before.map((hole) => [BigInt(hole.from), BigInt(hole.to)] as const);
    for (const [start, end] of without([[BigInt(from), BigInt(to)]], ranges)) {
      found.push({ partition, from: String(start), to: String(end), seenAt });
    }
  }
  return found;
}

/** All workers meet what is wrong with an object or a list. */
function eachOnce(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
}

function textOf(pending: Pending): PendingText {
  return [...pending].map(([partition, ranges]) => [partition, ranges.map(([a, b]) => [String(a), String(b)])]);
}

function rangesOf(pending: readonly PendingText[]): Map<string, CursorRange[]> {
  const all = new Map<string, CursorRange[]>();
  for (const [partition, ranges] of pending.flat()) {
    const into = all.get(partition) ?? [];
    all.set(partition, into);
    for (const [from, to] of ranges) into.push([BigInt(from), BigInt(to)]);
  }
  return all;
}

/** Of a worker other than 0: it stays until the night is archived, since nobody else has what it has in hand. */
export async function endOfFollower(
  night: Night,
  ledger: LedgerInLoading,
  publish: (sources: Manifest['sources']) => Promise<Problem[]>,
): Promise<NightReport> {
  return endedReport(night, ledger, await night.crew!.end(), publish);
}

async function endedReport(
  night: Night,
  ledger: LedgerInLoading,
  { sha256, report }: Commit,
  publish?: (sources: Manifest['sources']) => Promise<Problem[]>,
): Promise<NightReport> {
  const { errors, warnings } = report as Pick<NightReport, 'errors' | 'warnings'>;
  if (sha256 === null) {
    await publish?.({});
    night.ended?.(ledger);
    return { manifest: null, days: [], errors, warnings };
  }
  const number = (ledger.head?.number ?? 0) + 1;
  const bytes = await readManifest(night.store, manifestKey(night.prefix, number));
  const signed = checkManifest(number, await openManifest(number, bytes, night.verifyingKeys), ledger);
  const unpublished = (await publish?.(signed.manifest.sources)) ?? [];
  addManifest(ledger, signed, sha256);
  night.ended?.(ledger);
  return reportOf(signed.manifest, [...errors, ...unpublished], warnings);
}
