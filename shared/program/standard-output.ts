/** Bytes to stdout, at the pace of whoever reads them, and text to stdout and stderr. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { DaybookError } from '../errors.ts';
import { standardError } from './standard-error.ts';
import { visibleLines } from './visible-text.ts';

/**
 * Prints a command's result. Resolves when all of it was handed over.
 * @throws DaybookError `output_failed`
 */
export async function print(text: string): Promise<void> {
  const output = openStandardOutput(process.stdout);
  await output.write(Buffer.from(visibleLines(text)));
  await output.finish();
}

/** Says something on stderr. Where nobody reads it, it is lost. */
export function tell(text: string): void {
  standardError().write(visibleLines(text));
}

/** Whether output failed since its reader went away, as head does when it has its lines. */
export function isReaderGone(error: unknown): boolean {
  const cause = error instanceof DaybookError && error.code === 'output_failed' ? error.cause : error;
  // Of a pipe; of a socket, as which some programs hand it over.
  return ['EPIPE', 'ECONNRESET'].includes((cause as NodeJS.ErrnoException | undefined)?.code ?? '');
}

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
  const failed = (error: Error | null | undefined) => {
    if (error) fail(error);
  };
  // Also what comes later, when nobody waits: a reader such as head has gone.
  stream.on('error', fail);
  return {
    async write(bytes) {
      if (failure === undefined && !stream.write(bytes, failed)) await once(stream, 'drain').catch(fail);
      if (failure !== undefined) throw failure;
    },
    async finish() {
      await new Promise<void>((resolve) => {
        stream.write('', (error) => {
          failed(error);
          resolve();
        });
      });
      if (failure !== undefined) throw failure;
    },
  };
}
