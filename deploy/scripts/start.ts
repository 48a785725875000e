/**
 * `npm start`: ingest and the nightly compaction together on one machine, with development values for what is not set.
 * Each is a process of its own, as in production: ingest runs on, a compaction is started now and then every day.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { Cron } from 'croner';
import { readEnvironment, readSettings, type SettingName, settings } from '../../shared/config.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { type Logger, openLog } from '../../shared/log.ts';
import { exitCodeOf } from '../../shared/program.ts';
import { developmentValues, unsetSettings } from './development-values.ts';

/** ingest answers what it took within 9 s of its signal; a compaction ends at once. */
const stopWithinMs = 9_500;
const root = dirname(dirname(import.meta.dirname));

async function start(): Promise<void> {
  const given = readEnvironment(process.env, process.cwd());
  const unset = unsetSettings(given);
  // Both programs' settings at once: what is wrong with the night is to be known before it comes.
  const names = (Object.keys(settings) as SettingName[]).filter((name) => !unset.some((other) => other === name));
  const configuration = readSettings(given, names);
  const { environment: added, warning } = await developmentValues(unset, configuration.DAYBOOK_DATA_DIR);
  process.stderr.write(warning);
  const environment = { ...given, ...added };
  const log = openLog('start', configuration.LOG_LEVEL);

  const children = new Set<ChildProcess>();
  const run = (program: string, ...args: string[]) => {
    const child = spawn(process.execPath, [join(root, program), ...args], {
      env: environment,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    children.add(child);
    return once(child, 'exit').then(([code]) => {
      children.delete(child);
      return code as number | null;
    });
  };

  let isStopping = false;
  const compact = async () => {
    if (isStopping) return;
    const exitCode = await run('compactor/main.ts', 'run');
    // Killed at any moment it loses nothing: the next run takes up what it left.
    if (!isStopping) logRun(log, exitCode);
  };
  const schedule = new Cron(
    `0 ${configuration.COMPACTOR_RUN_HOUR_UTC} * * *`,
    { timezone: 'Etc/UTC', protect: true, paused: !configuration.COMPACTOR_ENABLED },
    compact,
  );

  const stop = (exitCode: number) => {
    if (isStopping) return;
    isStopping = true;
    schedule.stop();
    for (const child of children) child.kill('SIGTERM');
    const cut = setTimeout(() => {
      for (const child of children) child.kill('SIGKILL');
    }, stopWithinMs);
    void Promise.all([...children].map((child) => once(child, 'exit'))).then(() => {
      clearTimeout(cut);
      process.exitCode = exitCode;
    });
  };
  process.on('SIGTERM', () => stop(0)).on('SIGINT', () => stop(0));

  void run('ingest/main.ts', 'serve').then((code) => {
    // It ended by itself: it has said why.
    stop(code ?? 2);
  });
  if (configuration.COMPACTOR_ENABLED) void schedule.trigger();
}

function logRun(log: Logger, exitCode: number | null): void {
  if (exitCode === 0) log.info({ exitCode }, 'compaction ended');
  else log.error({ exitCode }, 'compaction ended with an error; the next one takes up what it left');
}

try {
  await start();
} catch (error) {
  const hint = error instanceof DaybookError ? `\n${error.code}: ${error.hint}` : '';
  process.stderr.write(`start: ${messageOf(error)}${hint}\n`);
  process.exitCode = exitCodeOf(error);
}
