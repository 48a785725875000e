/** A redaction between two embedded streams, in folders of a test's own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { type DeadLetter, type DeadLetters, deadLetterFile } from '../../../ingest/redact/dead-letters.ts';
import type { RedactObserver, Step } from '../../../ingest/redact/metrics.ts';
import { filePositions, type Positions } from '../../../ingest/redact/positions.ts';
import { readersRecord } from '../../../ingest/redact/readers-record.ts';
import { openRedaction, type StreamRedaction } from '../../../ingest/redact/redact-stream.ts';
import { compileRules } from '../../../ingest/redact/rules.ts';
import { type Clock, systemClock } from '../../../shared/clock.ts';
import { redactionSchema } from '../../../shared/redaction.ts';
import { openEmbeddedReader, openEmbeddedWriter } from '../../../shared/stream/embedded/embedded.ts';
import type { EventStreamReader, EventStreamWriter } from '../../../shared/stream/stream.ts';

export interface Readers {
  readonly directory: string;
  readonly readersDirectory: string;
  readonly writer: EventStreamWriter;
  readonly counts: { redacted: number; dead_lettered: number; missed: number; failed: Step[] };
  /** A redaction as after a restart, of which `change` replaces parts. */
  open(change?: RedactChange): Promise<StreamRedaction>;
  letters(): Promise<DeadLetter[]>;
  close(): Promise<void>;
}

export interface RedactChange {
  readonly clock?: Clock;
  stream?(reader: EventStreamReader): EventStreamReader;
  readers?(writer: EventStreamWriter): EventStreamWriter;
  positions?(positions: Positions): Positions;
  deadLetters?(deadLetters: DeadLetters): DeadLetters;
}

export interface ReadersOptions {
  readonly redaction?: object;
  readonly streamKeys?: Parameters<typeof readersRecord>[1]['streamKeys'];
}

export async function openReaders({ redaction = {}, streamKeys }: ReadersOptions = {}): Promise<Readers> {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-redact-'));
  const readersDirectory = join(directory, 'readers');
  const lettersPath = join(directory, 'redact', 'dead-letters.jsonl');
  const writer = await openEmbeddedWriter({ directory });
  const opened: { close(): Promise<void> }[] = [writer];
  const counts: Readers['counts'] = { redacted: 0, dead_lettered: 0, missed: 0, failed: [] };
  const observer: RedactObserver = {
    done: (outcome, records) => {
      counts[outcome] += records;
    },
    failed: (step) => counts.failed.push(step),
    missed: () => {
      counts.missed += 1;
    },
  };
  const rules = {
    ruleOf: compileRules(redactionSchema.parse(redaction)),
    hashKey: 'k'.repeat(32),
    streamKeys,
  };
  return {
    directory,
    readersDirectory,
    writer,
    counts,
    async open(change = {}) {
      const stream = await openEmbeddedReader({ directory, consumer: 'redact', clock: systemClock });
      const readers = await openEmbeddedWriter({ directory: readersDirectory });
      opened.push(stream, readers);
      const positions = filePositions(join(directory, 'redact', 'positions.json'), (await stream.snapshot()).id);
      const deadLetters = deadLetterFile(lettersPath);
      return openRedaction({
        stream: change.stream?.(stream) ?? stream,
        readers: change.readers?.(readers) ?? readers,
        deadLetters: change.deadLetters?.(deadLetters) ?? deadLetters,
        positions: change.positions?.(positions) ?? positions,
        redact: (value) => readersRecord(value, rules),
        observer,
        clock: change.clock ?? systemClock,
        log: pino({ level: 'silent' }),
      });
    },
    letters: () => readLetters(lettersPath),
    async close() {
      for (const one of opened) await one.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export async function readLetters(path: string): Promise<DeadLetter[]> {
  const { readFile } = await import('node:fs/promises');
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** The documents of an embedded readers' stream, in the order of their partitions. */
export async function documentsIn(directory: string): Promise<ReadersDocument[]> {
  const reader = await openEmbeddedReader({ directory, consumer: 'test', clock: systemClock });
  try {
    return await documentsOf(reader);
  } finally {
    await reader.close();
  }
}

export async function documentsOf(reader: EventStreamReader): Promise<ReadersDocument[]> {
  const documents: ReadersDocument[] = [];
  const snapshot = await reader.snapshot();
  for (const partition of snapshot.partitions.keys()) {
    for await (const { entries } of reader.read(partition, undefined, snapshot)) {
      for (const { value } of entries) documents.push(JSON.parse(Buffer.from(value).toString()));
    }
  }
  return documents;
}

export interface ReadersDocument {
  readonly event: { readonly id: string };
  readonly [member: string]: unknown;
}

export const idsOf = (documents: readonly ReadersDocument[]) => documents.map(({ event }) => event.id);
