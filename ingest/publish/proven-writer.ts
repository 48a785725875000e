/**
 * A stream that takes what nobody can read is worse than one that is away: events would be answered 2xx and never be
 * archived. So the stream has to prove at the start, and now and then, that what lies in it can be read back, and that its
 * settings still hold. Where it cannot, nothing goes to it: events go to the spool until it can.
 */
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import type { EventStreamWriter } from '../../shared/stream/stream.ts';

const proveEveryMs = 30_000;

export interface ProvenWriterOptions {
  readonly open: () => Promise<EventStreamWriter>;
  readonly log: Logger;
  readonly everyMs?: number;
}

/** Whether what is appended to a stream that fails so may never be archived. */
export function isUnproven(error: unknown): error is DaybookError {
  return error instanceof DaybookError && (error.code === 'stream_unreadable' || error.code === 'stream_unsuitable');
}

/** Rejects as `open` does, and where the stream's first proof fails. */
export async function openProvenWriter(options: ProvenWriterOptions): Promise<EventStreamWriter> {
  const { open, log, everyMs = proveEveryMs } = options;
  const writer = await open();
  let fault: DaybookError | undefined;
  let isSaid = false;
  let isClosed = false;

  /** Rejects with what disproves it. That it could not be tried proves nothing, for or against. */
  async function prove(): Promise<void> {
    try {
      await writer.prove();
    } catch (error) {
      if (isUnproven(error)) throw error;
      if (!isSaid) log.warn({ reason: messageOf(error) }, 'what the stream holds could not be read back just now');
      isSaid = true;
      return;
    }
    isSaid = false;
  }

  async function proveAgain(): Promise<void> {
    try {
      await prove();
      if (fault !== undefined) log.info('what the stream holds can be read again');
      fault = undefined;
    } catch (error) {
      if (fault === undefined && !isClosed)
        log.error({ err: error }, 'nothing goes to the stream until it can be read');
      fault = error as DaybookError;
    }
    if (!isClosed) timer = setTimeout(proveAgain, everyMs).unref();
  }

  try {
    await prove();
  } catch (error) {
    await writer.close();
    throw error;
  }
  let timer = setTimeout(proveAgain, everyMs).unref();

  return {
    maxValueBytes: writer.maxValueBytes,
    async append(records) {
      if (fault === undefined) return writer.append(records);
      const { message: detail, hint, cause } = fault;
      throw new AppendError([...records.keys()], { detail, hint, retry: false, cause });
    },
    async probe() {
      if (fault !== undefined) throw fault;
      await writer.probe();
    },
    prove,
    async close() {
      isClosed = true;
      clearTimeout(timer);
      await writer.close();
    },
  };
}
