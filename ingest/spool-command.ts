/** `daybook-ingest spool inspect|export|requeue`: looks into the spool, also while ingest runs. */
import { systemClock } from '../shared/clock.ts';
import { DaybookError } from '../shared/errors.ts';
import { openLog } from '../shared/program/log.ts';
import { openStandardOutput, print, tell } from '../shared/program/standard-output.ts';
import { readSpoolConfiguration } from './configuration.ts';
import type { BackingStore, DeadLetter, SpoolSize } from './spool/backing-store.ts';
import { openSpool } from './spool/open-spool.ts';

export interface InspectOptions {
  readonly json?: boolean;
}

/** Prints the size of the spool: as one JSON document, or to be read, dead letters counted by reason. */
export async function inspectCommand({ json }: InspectOptions): Promise<void> {
  await withSpool(async (store) => {
    const size = await store.size();
    if (json === true) {
      const { records, bytes, oldestSeconds, dead } = size;
      await print(`${JSON.stringify({ records, bytes, oldestSeconds, dead })}\n`);
    } else {
      await print(describe(size, await countByReason(store)));
    }
  });
}

/** Prints one line for each dead letter, oldest first: {"sequence","at","reason","key","raw":base64}. */
export async function exportCommand(): Promise<void> {
  await withSpool(async (store) => {
    const output = openStandardOutput(process.stdout);
    // One letter in memory at a time, however slowly the other side reads.
    for await (const letter of store.deadLetters()) {
      await output.write(Buffer.from(`${JSON.stringify(lineOf(letter))}\n`));
    }
    await output.finish();
  });
}

export interface RequeueOptions {
  readonly sequence?: readonly string[];
}

/** Prints how many dead letters wait again; ingest finds them within seconds. */
export async function requeueCommand({ sequence }: RequeueOptions): Promise<void> {
  const sequences = sequence?.map(parseSequence);
  await withSpool(async (store) => {
    const requeued = await store.requeue(sequences);
    // Dies here: they wait again, and nobody was told; a repeat finds nothing more to do.
    await print(`${requeued}\n`);
    const { dead } = await store.size();
    if (sequences !== undefined || dead === 0) return;
    tell(
      `${dead} dead ${dead === 1 ? 'letter stays: it is' : 'letters stay: they are'} too damaged to be sent. See: spool export\n`,
    );
  });
}

async function withSpool(work: (store: BackingStore) => Promise<void>): Promise<void> {
  const { DAYBOOK_DATA_DIR: dataDirectory, INGEST_SPOOL: settings, LOG_LEVEL: level } = readSpoolConfiguration();
  if (settings.type === 'memory') {
    throw new DaybookError('usage', {
      detail: 'a spool of type memory is in the memory of ingest, where no command can look; its metrics tell its size',
      hint: 'Use a spool of type file or sql.',
    });
  }
  const log = openLog('ingest', level);
  const store = await openSpool(settings, { dataDirectory, clock: systemClock, log, use: 'inspect' });
  try {
    await work(store);
  } finally {
    await store.close();
  }
}

function parseSequence(text: string): bigint {
  if (!/^\d{1,19}$/.test(text)) throw new DaybookError('usage', { detail: `--sequence: ${text} is not a number` });
  return BigInt(text);
}

/** Reasons that differ in their numbers alone, such as sizes, are one. */
async function countByReason(store: BackingStore): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for await (const { reason } of store.deadLetters()) {
    const kind = reason.replaceAll(/\d+/g, 'N');
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

function describe({ records, bytes, oldestSeconds, dead }: SpoolSize, reasons: ReadonlyMap<string, number>): string {
  const rows = [
    ['records that wait', `${records}`],
    ['oldest, seconds', `${Math.round(oldestSeconds)}`],
    ['dead letters', `${dead}`],
    ['bytes of both', `${bytes}`],
  ];
  const table = rows.map(([name, value]) => `${name!.padEnd(18)}${value!.padStart(14)}\n`).join('');
  const said = [...reasons].map(([reason, count]) => `${`${count}`.padStart(8)}  ${reason}\n`).join('');
  return said === '' ? table : `${table}\nDead letters by reason:\n${said}`;
}

function lineOf({ sequence, at, reason, key, raw }: DeadLetter): object {
  return { sequence: `${sequence}`, at, reason, key, raw: Buffer.from(raw).toString('base64') };
}
