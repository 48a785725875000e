/** Ingest's path to stream and spool in simulated time: a stream and a spool that fail as told, a process that can die. */
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import { defaultLimits } from '../../ingest/publish/group-commit.ts';
import { noObserver } from '../../ingest/publish/observer.ts';
import { type OpenPublishing, openPublishing, publishOrSpool } from '../../ingest/publish-or-spool.ts';
import type { BackingStore, SpoolSize } from '../../ingest/spool/backing-store.ts';
import { DaybookError } from '../../shared/errors.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import type { AppendRecord, EventStreamWriter } from '../../shared/stream/stream.ts';
import type { SimulatedDisk } from './simulated-disk.ts';

/**
 * `lost`: written, the answer is lost and an error comes. `hang`: nothing is written, no answer comes. `silent`: written,
 * no answer comes. `slow`: written and answered after the door's deadline. `late`: the same, after the drain's. `part`: of
 * every second key nothing is written, which is said. `vague`: as `up`, but of a batch with a record that is refused
 * nothing is written, and which record it was is not said. `shaky`: the same, and every third append fails.
 */
export const streamModes = ['up', 'down', 'lost', 'hang', 'silent', 'slow', 'late', 'part', 'vague', 'shaky'] as const;
export type StreamMode = (typeof streamModes)[number];
/**
 * `brisk`: it takes its time, but little. `after`: what is asked happens, and an error comes. `hang`: nothing happens, no
 * answer comes. `slow`: as of the stream.
 */
export const spoolModes = ['up', 'brisk', 'full', 'down', 'after', 'hang', 'slow'] as const;
export type SpoolMode = (typeof spoolModes)[number];

/** Where a process may be killed: before or after one of these has happened. */
export const steps = ['stream append', 'spool append', 'peek', 'commit', 'dead letter'] as const;
export interface Kill {
  readonly step: (typeof steps)[number];
  readonly isAfter: boolean;
  /** How many of these steps go well first. */
  readonly skip: number;
}

const deadlineMs = 600;
/** For the stream, then for the spool; and a step of the simulated time. */
const longestWaitMs = 2 * deadlineMs + 20;
const maxBatchRecords = 8;
const briskMs = 10;
/** Longer than two looks into the spool. */
const briskAppendMs = 60;
/** The drain waits a second. */
const slowMs = 800;
/** How long a hung call is not answered; then it fails, if its process still lives. */
const hangMs = 2_500;
const never = new Promise<never>(() => {});

export interface SentRecord {
  readonly text: string;
  readonly key: string;
  readonly isPoison: boolean;
  readonly sentMs: number;
  /** The spool takes all: nothing but the end of the process is a reason to refuse it. */
  mustBeAccepted: boolean;
  outcome: 'waits' | 'accepted' | 'refused' | 'died';
}

export interface Simulation {
  readonly sent: SentRecord[];
  /** What the stream holds, in its order. */
  readonly stream: readonly string[];
  /** Senders that were answered as they should not be. */
  readonly wronged: readonly string[];
  readonly calls: { streamAppends: number; spoolAppends: number };
  streamMode: StreamMode;
  spoolMode: SpoolMode;
  takesPoison: boolean;
  kill: Kill | undefined;
  /** Mocked milliseconds since an append to the spool failed. */
  sinceRefusalMs(): number;
  /** What `/readyz` is told; undefined where the process dies meanwhile. */
  isReady(): Promise<boolean | undefined>;
  /** One request with records of these keys. */
  receive(keys: readonly string[], isPoison: boolean): void;
  advance(ms: number, stepMs?: number): Promise<void>;
  crash(): Promise<void>;
  /** A stop in good order; the next process starts unless this is the end. */
  shutDown(isEnd?: boolean): Promise<void>;
  /** Whatever still runs does nothing any more. */
  abandon(): void;
  requeue(): Promise<number>;
  size(): Promise<SpoolSize>;
  live(): Promise<string[]>;
  dead(): Promise<string[]>;
}

export interface SimulatedTime {
  tick(ms: number): void;
}

/** `hasRoom`: the disk holds all that is sent. */
export async function openSimulation(time: SimulatedTime, disk: SimulatedDisk, hasRoom: boolean): Promise<Simulation> {
  let store: BackingStore;
  const stream: string[] = [];
  const sent: SentRecord[] = [];
  let life = { isAlive: true };
  let publishing: OpenPublishing;
  let refusedAtMs = Number.NEGATIVE_INFINITY;
  let spoolMode: SpoolMode = 'up';
  let spoolUpAtMs = Number.NEGATIVE_INFINITY;
  const wronged: string[] = [];

  const simulation: Simulation = {
    sent,
    stream,
    calls: { streamAppends: 0, spoolAppends: 0 },
    streamMode: 'up',
    wronged,
    get spoolMode() {
      return spoolMode;
    },
    set spoolMode(mode) {
      if (mode === spoolMode) return;
      spoolMode = mode;
      spoolUpAtMs = Date.now();
      for (const record of waiting()) record.mustBeAccepted = false;
    },
    takesPoison: false,
    kill: undefined,
    sinceRefusalMs: () => Date.now() - refusedAtMs,
    async isReady() {
      if (!life.isAlive) await start();
      const own = life;
      const asked = publishing.ready(2_000).then(
        () => true,
        () => false,
      );
      return (await untilSettled(asked)) === 'settled' && own.isAlive ? asked : undefined;
    },
    receive(keys, isPoison) {
      const sentMs = Date.now();
      // Calls that hung when it came back have failed by then; behind a long queue time may be over.
      const isSpoolWell = spoolMode === 'up' && sentMs - spoolUpAtMs > hangMs + longestWaitMs;
      const mustBeAccepted = hasRoom && isSpoolWell && waiting().length <= 2 * maxBatchRecords;
      const records = keys.map((key): SentRecord => {
        const text = `${sent.length} ${key}`;
        const record: SentRecord = { text, key, isPoison, sentMs, mustBeAccepted, outcome: 'waits' };
        sent.push(record);
        return record;
      });
      const settle = (outcome: SentRecord['outcome']) => {
        for (const record of records) {
          if (record.outcome !== 'waits') continue;
          record.outcome = outcome;
          if (outcome === 'refused' && record.mustBeAccepted) wronged.push(`${record.text} was refused`);
        }
      };
      if (!life.isAlive) return settle('died');
      publishOrSpool(
        records.map(({ text, key }) => ({ key, value: Buffer.from(isPoison ? `poison ${text}` : text) })),
        publishing,
      ).then(
        () => settle('accepted'),
        () => settle('refused'),
      );
    },
    async advance(ms, stepMs = 10) {
      for (let left = ms; left > 0; left -= stepMs) {
        if (!life.isAlive) await start();
        await tick(Math.min(left, stepMs));
      }
    },
    async crash() {
      die();
      await start();
    },
    async shutDown(isEnd = false) {
      if (!life.isAlive) await start();
      const own = life;
      for (const record of waiting()) record.mustBeAccepted = false;
      const stopped = stop();
      const outcome = await untilSettled(stopped);
      if (!own.isAlive) return;
      if (outcome !== 'settled') throw new Error('the stop does not end');
      life.isAlive = false;
      await disk.close();
      if (!isEnd) await start();
    },
    abandon() {
      life.isAlive = false;
    },
    requeue: () => store.requeue(),
    size: () => store.size(),
    async live() {
      const { records } = await store.peek({ maxRecords: 1e6, maxBytes: 1e9 });
      return records.map(({ value }) => textOf(value));
    },
    async dead() {
      const texts: string[] = [];
      for await (const { raw } of store.deadLetters()) texts.push(textOf(raw));
      return texts;
    },
  };

  const waiting = () => sent.filter(({ outcome }) => outcome === 'waits');

  async function stop(): Promise<unknown> {
    await publishing.stop();
    await setImmediate();
    for (const { text } of waiting()) wronged.push(`${text} has no answer from a process that stopped`);
    return publishing.finish(2_000, false);
  }

  /** For ten seconds at most, or until the process dies. */
  async function untilSettled(work: Promise<unknown>): Promise<'settled' | 'open'> {
    const own = life;
    let outcome: 'settled' | 'open' = 'open';
    const settle = () => {
      outcome = 'settled';
    };
    work.then(settle, settle);
    for (let step = 0; outcome === 'open' && own.isAlive && step < 1_000; step++) await tick(10);
    return outcome;
  }

  async function tick(ms: number): Promise<void> {
    time.tick(ms);
    await setImmediate();
    const last = Date.now() - longestWaitMs;
    for (const { text, sentMs } of waiting()) if (sentMs < last) wronged.push(`${text} waits for too long`);
  }

  function write(records: readonly AppendRecord[]): void {
    stream.push(...records.map(({ value }) => textOf(value)));
  }

  async function append(records: readonly AppendRecord[]): Promise<void> {
    simulation.calls.streamAppends++;
    const all = [...records.keys()];
    const mode = simulation.streamMode;
    if (mode === 'down') throw new AppendError(all, { retry: true });
    if (mode === 'hang' || mode === 'silent') {
      if (mode === 'silent') write(records.filter((record) => takes(record)));
      await pass(hangMs);
      throw new AppendError(all, { retry: true });
    }
    // What is on its way arrives, though the process that sent it may be dead by then.
    if (mode === 'slow') await pass(slowMs);
    if (mode === 'late') await pass(hangMs);
    if (mode === 'shaky' && simulation.calls.streamAppends % 3 === 0) throw new AppendError(all, { retry: true });
    const refused = all.filter((at) => !takes(records[at]!));
    if ((mode === 'vague' || mode === 'shaky') && refused.length > 0 && records.length > 1)
      throw new AppendError(all, { retry: false });
    const left = all.filter((at) => mode === 'part' && records[at]!.key.charCodeAt(0) % 2 === 0);
    const unacknowledged = all.filter((at) => refused.includes(at) || left.includes(at));
    write(records.filter((_, at) => !unacknowledged.includes(at)));
    if (mode === 'lost') throw new AppendError(all, { retry: true });
    if (unacknowledged.length === 0) return;
    throw new AppendError(unacknowledged, { retry: refused.length === 0, refused });
  }

  const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const takes = ({ value }: AppendRecord) => simulation.takesPoison || !isPoison(value);

  async function probe(): Promise<void> {
    if (simulation.streamMode === 'hang') return never;
    if (simulation.streamMode === 'down') throw new DaybookError('stream_unavailable');
  }

  async function ofSpool<T>(call: () => Promise<T>): Promise<T> {
    const mode = simulation.spoolMode;
    if (mode === 'hang') await pass(hangMs);
    if (mode === 'down' || mode === 'hang') throw new DaybookError('spool_unavailable');
    if (mode === 'slow') await pass(slowMs);
    if (mode === 'brisk') await pass(briskMs);
    const result = await call();
    if (mode === 'after') throw new DaybookError('spool_unavailable');
    return result;
  }

  async function appendToSpool(own: BackingStore, records: readonly AppendRecord[]): Promise<void> {
    simulation.calls.spoolAppends++;
    try {
      await ofSpool(async () => {
        if (simulation.spoolMode === 'full') throw new DaybookError('spool_full');
        if (spoolMode === 'brisk') await pass(briskAppendMs);
        return own.append(records);
      });
    } catch (error) {
      refusedAtMs = Date.now();
      throw error;
    }
  }

  function die(): void {
    life.isAlive = false;
    simulation.kill = undefined;
    disk.kill();
    for (const record of waiting()) record.outcome = 'died';
  }

  /** Whether the process is to die now. */
  function isDue(step: Kill['step'], isAfter: boolean): boolean {
    const { kill } = simulation;
    if (kill === undefined || kill.step !== step || kill.isAfter !== isAfter) return false;
    if (kill.skip === 0) return true;
    simulation.kill = { ...kill, skip: kill.skip - 1 };
    return false;
  }

  async function start(): Promise<void> {
    const own = { isAlive: true };
    life = own;
    store = await disk.open();
    const ownStore = store;
    /** A process that died neither does anything nor hears of anything any more. */
    const living = async <T>(call: () => Promise<T>, step?: Kill['step']): Promise<T> => {
      if (own.isAlive && step !== undefined && isDue(step, false)) die();
      if (!own.isAlive) return never;
      try {
        return await call();
      } finally {
        if (own.isAlive && step !== undefined && isDue(step, true)) die();
        if (!own.isAlive) await never;
      }
    };
    const writer: EventStreamWriter = {
      maxValueBytes: undefined,
      append: (records) => living(() => append(records), 'stream append'),
      probe: () => living(probe),
      prove: async () => {},
      close: async () => {},
    };
    const spool: BackingStore = {
      ...ownStore,
      append: (records) => living(() => appendToSpool(ownStore, records), 'spool append'),
      peek: (limit) =>
        living(
          () =>
            ofSpool(async () => {
              const { commit, ...found } = await ownStore.peek(limit);
              return { ...found, commit: (some) => living(() => ofSpool(() => commit(some)), 'commit') };
            }),
          'peek',
        ),
      size: () => living(() => ofSpool(() => ownStore.size())),
      deadLetter: (record, reason) => living(() => ofSpool(() => ownStore.deadLetter(record, reason)), 'dead letter'),
    };
    const opening = openPublishing({
      writer,
      store: spool,
      deadlineMs,
      clock: { now: () => new Date() },
      observer: noObserver,
      log: pino({ level: 'silent' }),
      limits: { ...defaultLimits, maxBatchRecords },
    });
    await untilSettled(opening);
    publishing = await opening;
  }

  await start();
  return simulation;
}

function isPoison(value: Uint8Array): boolean {
  return Buffer.from(value).toString().startsWith('poison ');
}

function textOf(value: Uint8Array): string {
  return Buffer.from(value).toString().replace('poison ', '');
}
