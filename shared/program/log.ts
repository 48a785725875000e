import { type Logger, pino } from 'pino';
import { isoOf } from '../clock.ts';
import { standardError } from './standard-error.ts';

export type { Logger };

/** JSON lines on stderr, which never wait; results go to stdout and never through here. */
export function openLog(program: string, level: string): Logger {
  const output = standardError();
  const timestamp = () => `,"time":"${isoOf(Date.now())}"`;
  output.sayDropped = (dropped) =>
    `{"level":"warn"${timestamp()},"program":"${program}","dropped":${dropped},"msg":"log lines were dropped, since nobody read them"}\n`;
  return pino(
    { level, base: { program }, timestamp, formatters: { level: (word) => ({ level: word }) } },
    {
      write: output.writeSoon,
    },
  );
}
