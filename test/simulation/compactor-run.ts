/** One run of the compactor as a process of its own, which meets faults, dies, or is overtaken by a rival, as its plan says. */

import { cpSync, existsSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pino } from 'pino';
import { compact } from '../../compactor/compact.ts';
import type { Night, NightReport } from '../../compactor/night.ts';
import { openStaging } from '../../compactor/staging/staging.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectBody, ObjectStore } from '../../shared/store/store.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import type { AppendRecord, EventStreamReader } from '../../shared/stream/stream.ts';
import type { Random } from './random.ts';

export interface RunPlan {
  readonly name: string;
  /** Of each call to store and stream: the chance that it fails. */
  readonly faultRate: number;
  /** Where the process dies: at the n-th call of such an operation, before its effect or after it. */
  readonly dies?: { readonly at: string; readonly call: number; readonly after: boolean } | undefined;
  /** The call of any kind at which the staging folder is gone. */
  readonly losesStagingAt?: number | undefined;
  /** At this call another run begins and ends. */
  readonly rivalAt?: number | undefined;
}

export interface RunOutcome {
  readonly report: NightReport | undefined;
  readonly failure: unknown;
  readonly died: boolean;
  /** How often something was made to fail. */
  readonly faults: number;
  readonly calls: number;
  readonly startedMs: number;
  endedMs: number;
}

/** The process is dead: nothing that it calls has an effect any more. */
class Death extends Error {}

export interface RunSurroundings {
  readonly random: Random;
  readonly dataDirectory: string;
  nowMs(): number;
  /** Of a run that is not over yet; told of each manifest that it creates. */
  created(key: string): void;
  rival(): Promise<void>;
  /** Told what was made to fail. */
  fault(kind: string): void;
  /** What arrives while a run is at work. */
  meanwhile(): void;
}

type Fault = 'before' | 'after' | undefined;

export async function runCompactor(
  night: Omit<Night, 'stagingDirectory' | 'log' | 'progress'>,
  plan: RunPlan,
  surroundings: RunSurroundings,
): Promise<RunOutcome> {
  const { random, dataDirectory } = surroundings;
  const callsOf = new Map<string, number>();
  let calls = 0;
  let faults = 0;
  let isDead = false;
  let rival: Promise<void> | undefined;

  async function step(operation: string, subject: string): Promise<Fault> {
    if (isDead) throw new Death();
    const call = (callsOf.get(operation) ?? 0) + 1;
    callsOf.set(operation, call);
    calls += 1;
    if (calls === plan.rivalAt) {
      rival = surroundings.rival();
      await rival;
    }
    if (calls === plan.losesStagingAt) {
      rmSync(stagingDirectory, { recursive: true });
      note('staging lost');
    }
    if (plan.dies?.at === operation && plan.dies.call === call) {
      note(`death at ${operation}`);
      isDead = true;
      if (plan.dies.after) return 'after';
      throw new Death();
    }
    if (plan.faultRate === 0) return undefined;
    // Drawn by what is called, not by the order of calls, some of which run side by side.
    const draw = random.of(`${operation} ${subject} ${call}`);
    if (!draw.chance(plan.faultRate)) return undefined;
    const fault = draw.chance(0.5) ? 'before' : 'after';
    note(`${operation} fails ${fault}`);
    return fault;
  }

  function note(kind: string): void {
    faults += 1;
    surroundings.fault(kind);
  }

  async function once<T>(operation: string, subject: string, call: () => Promise<T>, error = storeError): Promise<T> {
    const fault = await step(operation, subject);
    if (fault === 'before') throw error();
    const result = await call();
    if (fault === 'after') throw error();
    return result;
  }

  async function* each<T>(operation: string, subject: string, call: () => AsyncIterable<T>, error = storeError) {
    const fault = await step(operation, subject);
    if (fault === 'before') throw error();
    yield* call();
    if (fault === 'after') throw error();
  }

  /** As `once`, but that a store may also call whole what is not. */
  async function createObject(key: string, body: ObjectBody): Promise<'created' | 'exists'> {
    const fault = await step('create', key);
    if (fault === 'before') throw storeError();
    const isShort = fault === 'after' && !isDead && random.of(`short ${key}`).chance(0.3);
    const result = await store.create(key, isShort ? shortened(body) : body);
    if (fault === 'after' && !isShort) throw storeError();
    if (isShort) surroundings.fault('create leaves the end away');
    return result;
  }

  const { store, stream, recoveredTo } = night;
  const failingStore: ObjectStore = {
    location: store.location,
    async create(key, body) {
      if (!key.startsWith('manifests/')) return createObject(key, body);
      return once('manifest', key, async () => {
        const result = await store.create(key, body);
        if (result === 'created') surroundings.created(key);
        return result;
      });
    },
    head: (key) => once('head', key, () => store.head(key)),
    read: (key, range) => each('read', key, () => store.read(key, range)),
    list: (prefix) => each('list', prefix, () => store.list(prefix)),
    close: async () => {},
  };
  const failingStream: EventStreamReader = {
    committed: () => once('committed', '', () => stream.committed(), streamError),
    snapshot: () =>
      once(
        'snapshot',
        '',
        async () => {
          const snapshot = await stream.snapshot();
          surroundings.meanwhile();
          return snapshot;
        },
        streamError,
      ),
    read: (partition, from, snapshot) =>
      each('stream read', partition, () => stream.read(partition, from, snapshot), streamError),
    recordBefore: (partition, cursor) =>
      once('recordBefore', partition, () => stream.recordBefore(partition, cursor), streamError),
    commit: (positions) => once('commit', '', () => stream.commit(positions), streamError),
    close: async () => {},
  };
  const failingWriter = recoveredTo && {
    maxValueBytes: recoveredTo.maxValueBytes,
    append: (records: readonly AppendRecord[]) =>
      once(
        'publish',
        '',
        () => recoveredTo.append(records),
        () => new AppendError([...records.keys()], { detail: 'simulated', retry: true }),
      ),
  };

  const staging = openStaging(dataDirectory);
  const stagingDirectory = staging.directory;
  const startedMs = surroundings.nowMs();
  let report: NightReport | undefined;
  let failure: unknown;
  try {
    const { recoveredTo: _, ...rest } = night;
    report = await compact({
      ...rest,
      store: failingStore,
      stream: failingStream,
      ...(failingWriter === undefined ? {} : { recoveredTo: failingWriter }),
      stagingDirectory,
      log: silent,
      progress: () => {},
    });
  } catch (error) {
    failure = error;
  }
  // What is called side by side may have failed before the rival ended.
  await rival;
  if (isDead) {
    // The dead tell nothing, and leave a folder whose lock nobody holds.
    report = undefined;
    if (existsSync(stagingDirectory)) cpSync(stagingDirectory, deadFolderOf(stagingDirectory), { recursive: true });
  }
  staging.remove();
  return { report, failure, died: isDead, faults, calls, startedMs, endedMs: surroundings.nowMs() };
}

const silent = pino({ level: 'silent' });
const storeError = () => new DaybookError('store_unavailable', { detail: 'simulated' });
const streamError = () => new DaybookError('stream_unavailable', { detail: 'simulated' });

function shortened(body: ObjectBody): ObjectBody {
  return {
    bytes: body.bytes,
    async *open() {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body.open()) chunks.push(chunk);
      yield Buffer.concat(chunks).subarray(0, -1);
    },
  };
}

/** A name as runs have, that no run has: its own, turned round. */
function deadFolderOf(directory: string): string {
  return join(dirname(directory), [...basename(directory)].reverse().join(''));
}
