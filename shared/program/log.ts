import { destination, type Logger, pino } from 'pino';

export type { Logger };

/** JSON lines on stderr; results go to stdout and never through here. */
export function openLog(program: string, level: string): Logger {
  return pino(
    { level, base: { program }, timestamp: () => `,"time":"${new Date().toISOString()}"` },
    destination({ fd: 2, sync: true }),
  );
}
