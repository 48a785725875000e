/**
 * The stream of a module. What the module exports is `StreamModule`; what its ends promise is said in ../stream.ts, and
 * test/contract/event-stream.ts checks it. It needs no class of ours: see `errorOfModule` for what it may throw.
 */
import { systemClock } from '../../clock.ts';
import { openWarningCollector } from '../../doctor/collect-warnings.ts';
import { ok } from '../../doctor/finding.ts';
import { errorOfModule, loadModule } from '../../files/load-module.ts';
import type { Logger } from '../../program/log.ts';
import { AppendError } from '../append-error.ts';
import type { ReaderOptions, StreamFindings } from '../driver.ts';
import type { EventStreamReader, EventStreamWriter } from '../stream.ts';
import type { ModuleParams } from './settings.ts';

type Params = Readonly<Record<string, unknown>>;

export interface StreamModule {
  openWriter(params: Params, options: WriterOptions): Promise<EventStreamWriter>;
  openReader(params: Params, options: WriterOptions & ReaderOptions): Promise<EventStreamReader>;
  /** For doctor: makes and writes nothing. Without it doctor opens a reader and takes a snapshot. */
  check?(params: Params, options: WriterOptions): Promise<StreamFindings>;
}

interface WriterOptions {
  readonly dataDirectory: string;
  readonly log: Logger;
}

/**
 * An `append` of the module may reject with any error: then no record of it counts as acknowledged, unless the error has
 * `unacknowledged`, the indexes of those that are not, and `refused`, those that the stream will never take.
 */
export async function openModuleWriter({ path, params = {} }: ModuleParams, options: WriterOptions) {
  const { openWriter } = await load(path);
  const writer = await openWriter(params, options).catch(rethrow);
  return {
    get maxValueBytes() {
      return writer.maxValueBytes;
    },
    append: (records) =>
      writer.append(records).catch((error: unknown) => {
        if (error instanceof AppendError) throw error;
        const { unacknowledged, refused } = (error ?? {}) as Partial<AppendError>;
        const { message, hint, retry } = errorOfModule(error, 'stream_unavailable');
        throw new AppendError(unacknowledged ?? [...records.keys()], {
          detail: message,
          hint,
          retry,
          ...(refused === undefined ? {} : { refused }),
          cause: error,
        });
      }),
    probe: () => writer.probe().catch(rethrow),
    prove: () => writer.prove().catch(rethrow),
    close: () => writer.close(),
  } satisfies EventStreamWriter;
}

export async function openModuleReader(
  { path, params = {} }: ModuleParams,
  options: WriterOptions & ReaderOptions,
): Promise<EventStreamReader> {
  const { openReader } = await load(path);
  const reader = await openReader(params, options).catch(rethrow);
  return {
    ...(reader.readsAtOnce === undefined ? {} : { readsAtOnce: reader.readsAtOnce }),
    committed: () => reader.committed().catch(rethrow),
    snapshot: () => reader.snapshot().catch(rethrow),
    async *read(partition, from, snapshot) {
      try {
        yield* reader.read(partition, from, snapshot);
      } catch (error) {
        rethrow(error);
      }
    },
    recordBefore: (partition, cursor) => reader.recordBefore(partition, cursor).catch(rethrow),
    commit: (positions) => reader.commit(positions).catch(rethrow),
    close: () => reader.close(),
  };
}

export async function checkModule(given: ModuleParams, dataDirectory: string): Promise<StreamFindings> {
  const { log, found } = openWarningCollector();
  const { path, params = {} } = given;
  const { check } = await load(path);
  if (check !== undefined) return check(params, { dataDirectory, log }).catch(rethrow);
  const reader = await openModuleReader(given, { dataDirectory, log, consumer: 'daybook-doctor', clock: systemClock });
  try {
    const { partitions } = await reader.snapshot();
    return { found: [ok(`the stream of the module ${path} can be read: ${partitions.size} partitions`), ...found('')] };
  } finally {
    await reader.close();
  }
}

const load = (path: string) => loadModule<StreamModule>(path, ['openWriter', 'openReader']);

function rethrow(error: unknown): never {
  throw errorOfModule(error, 'stream_unavailable');
}
