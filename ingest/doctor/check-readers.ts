/** What `redact` needs: the readers' stream and that of the dead letters, and how far it is. Makes nothing and writes nothing. */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '../../shared/clock.ts';
import { checkFolder, inUnits } from '../../shared/doctor/check-files.ts';
import { openWarningCollector } from '../../shared/doctor/collect-warnings.ts';
import { type Check, counted, type Found, ok, problem, warning } from '../../shared/doctor/finding.ts';
import { readEnvelope } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import { checkDriver, isStreamAbsent, openReader, withoutCreate } from '../../shared/stream/open.ts';
import type { EventStreamReader, StreamSnapshot } from '../../shared/stream/stream.ts';
import type { StreamConfiguration } from '../../shared/stream/streams.ts';
import type { RedactConfiguration } from '../configuration.ts';
import { consumerOf, type Place, positionsOf } from '../redact/positions.ts';
import { foldersOf } from '../redact/redact-command.ts';

/** A redaction that runs passes over the stream each second. */
const longWaitMs = 15 * 60_000;

export function readersChecks(settings: RedactConfiguration, nowMs: number): Check[] {
  const { DAYBOOK_DATA_DIR: directory, DAYBOOK_READERS_STREAM: to, DAYBOOK_READERS_DEAD_LETTERS: letters } = settings;
  const { readersDirectory, lettersDirectory, lettersFile } = foldersOf(directory);
  return [
    { name: 'readers', run: async () => (await checkDriver(to, readersDirectory)).found },
    {
      name: 'dead letters',
      run: async () =>
        letters === undefined ? checkLetters(lettersFile) : (await checkDriver(letters, lettersDirectory)).found,
    },
    { name: 'redact', run: () => checkProgress(settings, nowMs) },
  ];
}

function checkLetters(path: string): Found[] {
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes === 0) return checkFolder('the folder of the dead letters', dirname(path));
  const hint =
    'Each line tells the place of a record that readers do not get, and the reason. Move the file away when done.';
  return [warning(`redact/dead-letters.jsonl has ${inUnits(bytes)} of dead letters`, hint)];
}

async function checkProgress(settings: RedactConfiguration, nowMs: number): Promise<Found[]> {
  const { DAYBOOK_DATA_DIR: directory, DAYBOOK_STREAM: from, DAYBOOK_READERS_STREAM: to } = settings;
  const { readersDirectory, lettersDirectory } = foldersOf(directory);
  const readersId = await idOf(to, readersDirectory);
  const letters = settings.DAYBOOK_READERS_DEAD_LETTERS;
  const lettersId = letters && (await idOf(letters, lettersDirectory));
  const consumer = consumerOf(readersId ?? '');
  return (
    (await withReader(from, directory, consumer, async (stream) => {
      const snapshot = await stream.snapshot();
      const same = [
        ...sameStreams('DAYBOOK_READERS_STREAM', readersId, { DAYBOOK_STREAM: snapshot.id }),
        ...sameStreams('DAYBOOK_READERS_DEAD_LETTERS', lettersId, {
          DAYBOOK_STREAM: snapshot.id,
          DAYBOOK_READERS_STREAM: readersId,
        }),
      ];
      if (same.length > 0) return same;
      const places =
        readersId === undefined
          ? new Map<string, Place>()
          : await positionsOf(from, stream, { directory, consumer, streamId: snapshot.id }).read();
      return describeProgress(stream, snapshot, places, nowMs);
    })) ?? [ok('there is no stream yet to read from')]
  );
}

function sameStreams(name: string, id: string | undefined, others: Record<string, string | undefined>): Found[] {
  return Object.entries(others)
    .filter(([, other]) => id !== undefined && id === other)
    .map(([other]) =>
      problem(`${name} is the stream of ${other}`, 'Name another: redact does not start.', 'configuration_invalid'),
    );
}

async function describeProgress(
  stream: EventStreamReader,
  snapshot: StreamSnapshot,
  places: ReadonlyMap<string, Place>,
  nowMs: number,
): Promise<Found[]> {
  const found: Found[] = [];
  let records = 0;
  let sinceMs = Number.POSITIVE_INFINITY;
  for (const [partition, { start = 0n, end }] of snapshot.partitions) {
    const cursor = places.get(partition)?.cursor;
    if (end !== undefined)
      records += Math.max(0, Number(end - (cursor !== undefined && cursor > start ? cursor : start)));
    for await (const { hole, entries } of stream.read(partition, cursor, snapshot)) {
      if (hole !== undefined) {
        const said = `partition ${partition}: what lay between ${hole.from} and ${hole.to} aged out before redact read it`;
        const hint =
          'Readers do not have it; the archive has what a night took. See that redact runs, and raise the retention of the stream.';
        found.push(problem(said, hint));
      }
      if (entries.length === 0) continue;
      sinceMs = Math.min(sinceMs, receivedMs(entries[0]!.value) ?? nowMs);
      break;
    }
  }
  if (sinceMs === Number.POSITIVE_INFINITY) return [...found, ok("the readers' stream has all that the stream has")];
  const count = records === 0 ? 'records wait' : `${counted(records, 'record')} ${records === 1 ? 'waits' : 'wait'}`;
  const said = `${count} for redact, the oldest since ${new Date(sinceMs).toISOString()}`;
  if (nowMs - sinceMs < longWaitMs) return [...found, ok(said)];
  const hint =
    places.size === 0
      ? 'It has not run yet for these readers: start node ingest/main.ts redact.'
      : 'See that node ingest/main.ts redact runs, and what its log says.';
  return [...found, warning(said, hint)];
}

function receivedMs(value: Uint8Array): number | undefined {
  const envelope = readEnvelope(value);
  return 'reason' in envelope ? undefined : Date.parse(envelope.header.receivedat);
}

async function idOf(stream: StreamConfiguration, directory: string): Promise<string | undefined> {
  return withReader(stream, directory, 'daybook-redact', async (reader) => (await reader.snapshot()).id);
}

/** Undefined where the stream is not there: its own check says so. */
async function withReader<T>(
  stream: StreamConfiguration,
  directory: string,
  consumer: string,
  work: (reader: EventStreamReader) => Promise<T>,
): Promise<T | undefined> {
  if (isStreamAbsent(stream, directory)) return undefined;
  const { log } = openWarningCollector();
  const options = { consumer, clock: systemClock, log };
  const reader = await openReader(withoutCreate(stream), directory, options).catch((error: unknown) => {
    if (error instanceof DaybookError && error.code === 'stream_missing') return undefined;
    throw error;
  });
  if (reader === undefined) return undefined;
  try {
    return await work(reader);
  } finally {
    await reader.close();
  }
}
