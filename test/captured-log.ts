/** A log whose lines a test can read. */
import { Writable } from 'node:stream';
import { type Logger, pino } from 'pino';

export type LogLine = { readonly level: number; readonly msg: string } & Readonly<Record<string, unknown>>;

export function capturedLog(): { log: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const log = pino(
    { level: 'debug' },
    new Writable({
      write(chunk, _encoding, done) {
        lines.push(JSON.parse(String(chunk)));
        done();
      },
    }),
  );
  return { log, lines };
}
