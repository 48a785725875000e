/** The console's data, made of its places: the archive, the stream, the ingests, and what this process knows of its jobs. */
import { statfs } from 'node:fs/promises';
import { type Clock, dayOf } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { EventStreamReader } from '../../shared/stream/stream.ts';
import { newestClosedDay } from '../day/closing.ts';
import type { Ingests } from './ask-ingests.ts';
import { archivesOf, calendarOf } from './calendar.ts';
import type { ConsoleData } from './console-data.ts';
import { dayDetailOf } from './day-detail.ts';
import { findEvent, searchGate } from './find-event.ts';
import type { KnownArchive, LedgerView } from './ledger-view.ts';
import type { DiskNow, NightNow } from './now-shapes.ts';
import { reportOf } from './report.ts';
import { apiFormat } from './shapes.ts';
import { openStreamLag } from './stream-lag.ts';

export interface ConsolePlaces {
  readonly view: LedgerView;
  /** The store that `view` reads. */
  openStore(): Promise<{ readonly store: ObjectStore; readonly prefix: string }>;
  /** To be read alone; makes none. */
  openStream(): Promise<EventStreamReader>;
  readonly streamType: string;
  readonly ingests: Ingests;
  /** Folders whose disks are told. */
  readonly folders: readonly string[];
  /** Names of the configured sources. */
  readonly sources: readonly string[];
  readonly lagSeconds: number;
  readonly clock: Clock;
}

/** What only the running `serve` knows. */
export interface NightsKnown {
  /** Runs that ended, the newest first. */
  nights(): readonly NightNow[];
  /** When the next night is due, where the newest manifest of one was made then; undefined: the schedule is off. */
  nextNightMs(newestNightMs: number | undefined): number | undefined;
}

const pageOfManifests = 50;
const searchesAtOnce = 2;

export function openConsole(places: ConsolePlaces, nights: NightsKnown): ConsoleData {
  const { view, clock, sources, lagSeconds, ingests } = places;
  const inGate = searchGate(searchesAtOnce);
  const lagOf = openStreamLag({ type: places.streamType, openStream: places.openStream, clock });

  /** @throws DaybookError `archive_unread` where nothing of the archive could be read yet */
  async function known(): Promise<KnownArchive> {
    const found = await view.look();
    const { trouble, head } = found.state;
    if (trouble !== null && head === null) {
      throw new DaybookError('archive_unread', { detail: `${trouble.code}: ${trouble.message}` });
    }
    return found;
  }

  const today = () => dayOf(clock.now());
  const standpoint = () => ({ today: today(), newestClosed: newestClosedDay(clock.now(), lagSeconds), sources });

  return {
    async archives({ before = Number.POSITIVE_INFINITY, limit = pageOfManifests }) {
      return archivesOf(await known(), before, limit);
    },
    async calendar({ month, source }) {
      return calendarOf(await known(), month ?? today().slice(0, 7), source, standpoint());
    },
    async day(source, day) {
      const { store } = await places.openStore();
      return dayDetailOf(await known(), source, day, today(), store.link);
    },
    event: (query) =>
      inGate(async () => {
        const { store } = await places.openStore();
        const { openStream } = places;
        return findEvent({ store, known: await known(), openStream, searchSpools: ingests.searchSpools }, query);
      }),
    async report({ month, source }) {
      return reportOf(await known(), month, source);
    },
    async now() {
      const { state, ledger } = await view.look();
      const newestNight = ledger.newestNight ?? null;
      const [figures, stream, disks] = await Promise.all([
        ingests.figures(),
        lagOf(ledger.stream),
        Promise.all(places.folders.map(diskOf)),
      ]);
      const nextMs = nights.nextNightMs(newestNight === null ? undefined : Date.parse(newestNight.createdAt));
      return {
        format: apiFormat,
        archive: state,
        at: clock.now().toISOString(),
        ingests: figures,
        stream,
        disks,
        nights: nights.nights(),
        newestNight,
        nextNightAt: nextMs === undefined ? null : new Date(nextMs).toISOString(),
      };
    },
    async readiness() {
      const { trouble } = (await view.look()).state;
      return { isReady: trouble === null, code: trouble?.code ?? null };
    },
  };
}

async function diskOf(path: string): Promise<DiskNow> {
  try {
    const { bavail, blocks, bsize } = await statfs(path);
    return { path, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    return { path, freeBytes: null, totalBytes: null };
  }
}
