/** Bytes to stdout, at the pace of whoever reads them. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { DaybookError } from '../errors.ts';

/**
 * Writes whole buffers in order. Each call resolves when the reader keeps up, and rejects where it went away.
 * @throws DaybookError `output_failed`
 */
export function openStandardOutput(stream: Writable): {
  write(bytes: Uint8Array): Promise<void>;
  /** Resolves when all of it was handed over. */
  finish(): Promise<void>;
} {
  let failure: DaybookError | undefined;
  const fail = (cause: unknown) => {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    failure ??= new DaybookError('output_failed', { detail: `stdout cannot be written: ${code}`, cause });
  };
  // Also what comes later, when nobody waits: a reader such as head has gone.
  stream.on('error', fail);
  return {
    async write(bytes) {
      if (failure === undefined && !stream.write(bytes)) await once(stream, 'drain').catch(fail);
      if (failure !== undefined) throw failure;
    },
    async finish() {
      await new Promise<void>((resolve) => {
        stream.write('', () => resolve());
      });
      if (failure !== undefined) throw failure;
    },
  };
}
