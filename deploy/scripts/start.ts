/**
 * `npm start`: ingest and the compactor together on one machine, with development values for what is not set. Each is a
 * process of its own, as in production; where one ends by itself the other is ended too. When both listen, sample
 * requests are printed on stdout.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join, resolve } from 'node:path';
import { serveSettings as compactorSettings, nightSettings } from '../../compactor/settings.ts';
import { serveSettings as ingestSettings } from '../../ingest/settings.ts';
import { readEnvironment, readSettings } from '../../shared/config.ts';
import { type Listening, urlOf } from '../../shared/program/listening.ts';
import { endWith, heedReaders } from '../../shared/program/program.ts';
import { standardError } from '../../shared/program/standard-error.ts';
import { print } from '../../shared/program/standard-output.ts';
import { developmentValues, unsetSettings } from './development-values.ts';
import { sampleRequests } from './sample-requests.ts';

/** Both end within 9 s of their signal. */
const stopWithinMs = 9_500;
const root = dirname(dirname(import.meta.dirname));

async function start(): Promise<void> {
  heedReaders();
  const given = readEnvironment(process.env, process.cwd());
  const unset = unsetSettings(given);
  // Both programs' settings at once: what is wrong with the night is to be known before it comes.
  const names = [...ingestSettings, ...nightSettings, ...compactorSettings].filter(
    (name) => !unset.some((other) => other === name),
  );
  const configuration = readSettings(given, names);
  const dataDirectory = resolve(configuration.DAYBOOK_DATA_DIR);
  const { environment: added, warning, sealedSince } = await developmentValues(unset, configuration.DAYBOOK_DATA_DIR);
  standardError().write(warning);
  const environment = { ...given, ...added };

  const children = new Set<ChildProcess>();
  /** Resolves when the program listens; not where it ends before. */
  const run = (program: string, ...options: string[]): Promise<Listening> => {
    const child = spawn(process.execPath, [join(root, program), 'serve', ...options], {
      env: environment,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    children.add(child);
    void once(child, 'exit').then(([code, signal]) => {
      children.delete(child);
      // Where nobody stopped it, it has said itself why it ended, unless it was killed.
      if (signal !== null && !isStopping) standardError().write(`start: ${program} was ended by ${signal}\n`);
      stop((code as number | null) ?? 2);
    });
    return new Promise((ready) => child.once('message', (message) => ready(message as Listening)));
  };

  let isStopping = false;
  const stop = (exitCode: number) => {
    if (isStopping) return;
    isStopping = true;
    process.exitCode = exitCode;
    for (const child of children) child.kill('SIGTERM');
    const cut = setTimeout(() => {
      for (const child of children) child.kill('SIGKILL');
    }, stopWithinMs);
    void Promise.all([...children].map((child) => once(child, 'exit'))).then(() => clearTimeout(cut));
  };
  // A terminal that is closed sends SIGHUP, by which ingest alone would not end.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop(0));

  const ready = [
    run('ingest/main.ts'),
    run('compactor/main.ts', ...(sealedSince === undefined ? [] : ['--accept-unsealed-before', sealedSince])),
  ];
  const development = (file: string) => join(dataDirectory, 'development', file);
  void Promise.all(ready).then(async (listening) => {
    const [ingest, compactor] = listening.map(urlOf);
    const requests = sampleRequests({
      ingest: ingest!,
      compactor: compactor!,
      root,
      dataDirectory,
      sources: unset.includes('DAYBOOK_SOURCES') ? development('sources.json') : undefined,
      // All but the recipient are paths.
      made: Object.fromEntries(
        Object.entries(added).map(([name, value]) => [name, name === 'COMPACTOR_RECIPIENTS' ? value : resolve(value)]),
      ),
      verifyingKey: unset.includes('COMPACTOR_SIGNING_KEY') ? development('verifying-key.pem') : undefined,
    });
    // Whoever does not read them does not stop the programs.
    await print(`\n${requests}\n\n`).catch(() => {});
  });
}

try {
  await start();
} catch (error) {
  endWith('start', error);
}
