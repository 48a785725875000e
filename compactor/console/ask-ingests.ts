/** Asks each configured ingest at its admin listener, for its figures and for what waits in its spool. Bounded in time and bytes. */

import { isEventId } from '../../shared/envelope.ts';
import { messageOf } from '../../shared/errors.ts';
import { getText } from '../../shared/http/get-text.ts';
import type { FoundRecord, SpoolSearch } from './event-shapes.ts';
import { figuresOf, readSample, type Sample } from './ingest-metrics.ts';
import type { IngestNow } from './now-shapes.ts';
import type { Trouble } from './shapes.ts';

export interface Ingests {
  /** Of each, in the order of the setting. Does not reject. */
  figures(): Promise<readonly IngestNow[]>;
  /** The same for an event in their spools. */
  searchSpools(id: string): Promise<readonly SpoolSearch[]>;
}

const metricsLimits = { limitMs: 2_000, maxBytes: 4 * 1024 * 1024 };
/** Longer than ingest itself takes. */
const spoolLimits = { limitMs: 7_000, maxBytes: 256 * 1024 };
/** Who looks again so soon gets the same. */
const freshMs = 2_000;
/** Rates over less tell little. */
const leastSeconds = 5;
const maxRecords = 100;

interface Look {
  readonly atMs: number;
  readonly sample: Sample;
}

/** `addresses`: origins, such as `http://127.0.0.1:9464`. */
export function openIngests(addresses: readonly string[]): Ingests {
  const asking = addresses.map(askFigures);
  return {
    figures: () => Promise.all(asking.map((ask) => ask())),
    searchSpools: (id) => Promise.all(addresses.map((address) => searchSpool(address, id))),
  };
}

function askFigures(address: string): () => Promise<IngestNow> {
  let before: Look | undefined;
  let last: Look | undefined;
  let answer: { readonly atMs: number; readonly figures: Promise<IngestNow> } | undefined;

  async function ask(): Promise<IngestNow> {
    try {
      const sample = readSample(await getText(`${address}/metrics`, metricsLimits));
      if (sample.size === 0) throw new Error('these are not the metrics of an ingest');
      const atMs = performance.now();
      if (last !== undefined && atMs - last.atMs >= leastSeconds * 1000) before = last;
      if (last === undefined || before === last) last = { atMs, sample };
      const seconds = before === undefined ? undefined : (atMs - before.atMs) / 1000;
      const earlier = before === undefined || seconds === undefined ? undefined : { sample: before.sample, seconds };
      return { address, trouble: null, overSeconds: seconds ?? null, ...figuresOf(sample, earlier) };
    } catch (error) {
      return { address, trouble: unreachable(error), overSeconds: null, ...figuresOf(new Map(), undefined) };
    }
  }

  return () => {
    const nowMs = performance.now();
    if (answer === undefined || nowMs - answer.atMs > freshMs) answer = { atMs: nowMs, figures: ask() };
    return answer.figures;
  };
}

async function searchSpool(ingest: string, id: string): Promise<SpoolSearch> {
  try {
    const text = await getText(`${ingest}/spool?id=${encodeURIComponent(id)}`, spoolLimits);
    return { ingest, ...foundIn(JSON.parse(text), id), trouble: null };
  } catch (error) {
    return { ingest, records: null, looked: 0, isWhole: false, trouble: unreachable(error) };
  }
}

/** What ingest found, each member looked at: whatever answers at that address. */
function foundIn(answer: unknown, id: string): Pick<SpoolSearch, 'records' | 'looked' | 'isWhole'> {
  const { records, looked, isWhole } = Object(answer) as Record<string, unknown>;
  if (!Array.isArray(records) || typeof looked !== 'number' || typeof isWhole !== 'boolean') {
    throw new Error('this is not the answer of an ingest');
  }
  return { records: records.slice(0, maxRecords).flatMap((record) => recordIn(record, id)), looked, isWhole };
}

function recordIn(record: unknown, id: string): (FoundRecord & { readonly isDeadLetter: boolean })[] {
  const found = Object(record) as Record<string, unknown>;
  const text = (name: string) => (typeof found[name] === 'string' ? found[name].slice(0, 1_024) : '');
  if (found.id !== id || !isEventId(id)) return [];
  return [
    {
      ...{ source: text('source'), type: text('type'), day: text('day') || null, receivedAt: text('receivedAt') },
      ...{ via: text('via'), scheme: text('scheme'), keyid: text('keyid') || null },
      bytes: typeof found.bytes === 'number' ? found.bytes : 0,
      isDeadLetter: found.isDeadLetter === true,
    },
  ];
}

function unreachable(error: unknown): Trouble {
  return { code: 'ingest_unreachable', message: messageOf(error) };
}
