/** THE PATH of the compactor: one night. By several workers: close-together.ts has what comes before and behind. */
import { addDays, type Day, dayOf } from '../shared/clock.ts';
import { DaybookError } from '../shared/errors.ts';
import type { StreamSnapshot } from '../shared/stream/stream.ts';
import { assembleManifest } from './assemble-manifest.ts';
import { closeTogether, endOfFollower, furthestOf, joinStaged, sumOfRuns } from './close-together.ts';
import { openIdFilter } from './day/archived-ids.ts';
import { type ClosedSource, closeSource } from './day/close-source.ts';
import { isTouched, newestClosedDay } from './day/closing.ts';
import { openRecoveredEvents } from './day/publish-recovered.ts';
import { type StagedSource, stageSource } from './day/staged-source.ts';
import {
  addManifest,
  type LedgerInLoading,
  loadLedger,
  refuseCutOff,
  refuseLedgerBehind,
  refuseRetired,
} from './ledger/ledger.ts';
import {
  appendManifest,
  encodeManifest,
  type Manifest,
  manifestKey,
  type StreamPosition,
  sha256Hex,
} from './ledger/manifest.ts';
import { clockToleranceMs, proveTime } from './ledger/prove-time.ts';
import { isLeader, type Lost, type Night, type NightReport, type Problem } from './night.ts';
import { failureOf, problemsOf, reportOf } from './night-report.ts';
import { openSortBudget } from './staging/external-sort.ts';
import { openQuarantine } from './stream/quarantine.ts';
import { readStream } from './stream/read-stream.ts';

const maxAttempts = 5;
/** Records in memory while they are sorted, over all sources and days. */
const sortBytes = 24 * 1024 * 1024;

/**
 * Closes every day that is due. Safe to run at any time and to kill at any moment: the manifest is the only commit
 * point, and whatever lies before it is done again by the next run. Of several runs at once one wins each manifest
 * number; the others start over from the ledger that it left.
 */
export async function compact(night: Night): Promise<NightReport> {
  const reasons = new Set<string>();
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const outcome = await closeOnce(night).catch((error: unknown) => {
      if (reasons.size === 0 || !(error instanceof DaybookError) || error.code !== 'workers_late') throw error;
      const detail = `${error.message}; before: ${[...reasons].join('; ')}`;
      throw new DaybookError('workers_late', { detail, cause: error });
    });
    if (!('lost' in outcome)) return outcome;
    reasons.add(outcome.lost);
    night.log.warn({ attempt, why: outcome.lost }, 'starting over from the ledger');
  }
  throw new DaybookError('manifest_contended', {
    detail: `lost ${maxAttempts} times: ${[...reasons].join('; ')}`,
  });
}

async function closeOnce(night: Night): Promise<NightReport | Lost> {
  // Before the ledger: whatever is committed by now, a ledger that is whole knows of.
  const committed = await night.stream.committed();
  const ledger = await loadLedger(night.store, night.prefix, night.verifyingKeys);
  const { signer, retiredSigners } = ledger;
  const range = night.verifyingKeys.get(night.signer.keyId) ?? {};
  refuseRetired((ledger.head?.number ?? 0) + 1, night.signer.keyId, range, signer, retiredSigners);
  await proveTime(night.clock.now(), night.trustClock === true ? undefined : ledger.head, night.askTime);
  const snapshot = await night.stream.snapshot(); // what arrives later belongs to the next night
  await refuseLedgerBehind(night.stream, committed, ledger, snapshot.id);
  await refuseCutOff(night.store, night.prefix);
  return night.worker === undefined
    ? closeFrom(night, ledger, snapshot)
    : closeTogether(night, ledger, snapshot, closeFrom);
}

async function closeFrom(night: Night, ledger: LedgerInLoading, snapshot: StreamSnapshot): Promise<NightReport | Lost> {
  const { reading, quarantine, staged, budget, ids } = await stageByDay(night, ledger, snapshot);
  // Dies here: staging is scratch; the next run reads the same records again.

  if (isLeader(night.crew)) await takeBackOffsets(night, reading.recreated);
  // Dies here: the ledger still is ahead of those partitions, so the next run finds again that they are not what it knows.

  const recovered =
    night.recoveredTo === undefined
      ? undefined
      : openRecoveredEvents(night.stagingDirectory, night.clock.now().toISOString(), night.streamKeys?.[0]);
  await joinStaged(night, staged, () => stageSource(budget, ids));
  const names = new Set([...night.sources.map(({ name }) => name), ...staged.keys()]);
  const closed: ClosedSource[] = [];
  for (const name of [...names].sort()) {
    const own = staged.get(name) ?? stageSource(budget, ids);
    closed.push(await closeSource(night, name, ledger, own, budget, quarantine, recovered));
  }
  const quarantined = await quarantine.seal();
  // Dies here: parts lie there that no manifest names; the repeat writes its own under the next name.

  const run = await sumOfRuns(night, { reading, closed, quarantined });
  const publish = async (sources: Manifest['sources']): Promise<Problem[]> => {
    if (night.recoveredTo === undefined || recovered === undefined) return [];
    const isArchived = (source: string, day: Day) => (sources[source]?.[day]?.parts.length ?? 0) > 0;
    const { failure } = await settled(recovered.publish(night.recoveredTo, isArchived));
    recovered.discard();
    return failureOf({ failure });
  };
  if (!isLeader(night.crew)) return endOfFollower(night, ledger, publish);
  const { errors, warnings } = problemsOf(night, ledger, run);
  const manifest = await assembleManifest(night, ledger, run);
  if (manifest === undefined) {
    await night.crew?.commit({ sha256: null, report: { errors, warnings } });
    if (ledger.stream !== undefined) await commitOffsets(night, ledger.stream, snapshot.id, reading.recreated);
    recovered?.discard();
    night.ended?.(ledger);
    return { manifest: null, days: [], errors, warnings };
  }

  const key = manifestKey(night.prefix, manifest.number);
  const bytes = await encodeManifest(manifest, night.signer);
  await night.crew?.commit({ sha256: sha256Hex(bytes), report: { errors, warnings } });
  // Dies here: the others wait for that manifest, and leave for the next attempt when this worker is back.

  if ((await appendManifest(night.store, key, bytes)) === 'lost') {
    recovered?.discard();
    return { lost: 'another run wrote the manifest' };
  }
  // Dies here: the ledger knows all; the offsets, kept for lag and retention only, follow on the next night. Recovered
  // events are archived and do not go out to the stream any more, unless they are restored to it.

  errors.push(...(await publish(manifest.sources)));
  // Dies here: recovered events are on the stream too; the next night reads them and drops them by their ids.

  errors.push(...failureOf(await settled(commitOffsets(night, manifest.stream, snapshot.id))));
  addManifest(ledger, { manifest, signer: night.signer.keyId }, sha256Hex(bytes));
  night.ended?.(ledger);
  return reportOf(manifest, errors, warnings);
}

/** Reads the stream and stages what this run can close, by source; what is not an envelope goes to the quarantine. */
async function stageByDay(night: Night, ledger: LedgerInLoading, snapshot: StreamSnapshot) {
  const now = night.clock.now();
  const newest = newestClosedDay(now, night.lagSeconds);
  const budget = openSortBudget({ directory: night.stagingDirectory, maxBytes: sortBytes });
  const ids = openIdFilter();
  const staged = new Map<string, StagedSource>();
  const quarantine = openQuarantine(night);
  const reading = await readStream(
    night.stream,
    snapshot,
    ledger.stream,
    {
      latestDay: addDays(dayOf(now), 1),
      streamKeys: night.streamKeys,
      latestReceipt: new Date(now.getTime() + clockToleranceMs).toISOString(),
      acceptUnsealedBefore: night.acceptUnsealedBefore?.toISOString(),
      kinds: new Map(night.sources.map(({ name, kind }) => [name, kind])),
      isOwn: night.crew?.isOwn,
      furthest: furthestOf(night, snapshot),
    },
    {
      isTouched: (day) => day <= newest && isTouched(night, day),
      stage(source, ...record) {
        const into = staged.get(source) ?? stageSource(budget, ids);
        staged.set(source, into);
        into.stage(...record);
      },
      quarantine: quarantine.add,
      progress: (records) => night.progress('reading the stream', records),
    },
    now.toISOString(),
  );
  return { reading, quarantine, staged, budget, ids };
}

/**
 * Offsets of a partition's former life must not outlive the manifest: the ledger would look as if it were behind. They go
 * back to the very beginning, whatever is kept: of a partition in which nothing is, the ledger then has no position.
 */
async function takeBackOffsets(night: Night, recreated: readonly string[]): Promise<void> {
  if (recreated.length > 0) await night.stream.commit(new Map(recreated.map((partition) => [partition, 0n])));
}

async function commitOffsets(
  night: Night,
  stream: StreamPosition,
  id: string,
  except: readonly string[] = [],
): Promise<void> {
  if (stream.id !== id) return;
  const positions = Object.entries(stream.partitions).flatMap(([partition, { next }]) =>
    except.includes(partition) ? [] : [[partition, BigInt(next)] as const],
  );
  await night.stream.commit(new Map(positions));
}

/** The failure of work without which the run goes on. */
async function settled(work: Promise<void>): Promise<{ failure?: unknown }> {
  try {
    await work;
    return {};
  } catch (failure) {
    return { failure };
  }
}
