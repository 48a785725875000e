/** A port that a program listens on: free, or held by that program itself, or by another. */
import { DaybookError } from '../errors.ts';
import { listen } from '../http/listen.ts';
import { nodeHttp } from '../http/node-http.ts';
import { type Found, ok, problem } from './finding.ts';

export interface ListenerToCheck {
  /** As `INGEST_PORT`. */
  readonly setting: string;
  readonly host: string;
  readonly port: number;
  /** What is asked of whoever holds the port, and whether the answer is the program's own. */
  readonly path: string;
  explain(status: number, body: string): Found;
}

const answerWithinMs = 2_000;

export async function checkListener({ setting, host, port, path, explain }: ListenerToCheck): Promise<Found[]> {
  if (port === 0) return [ok(`${setting} is 0: any free port is taken`)];
  const server = nodeHttp().createServer();
  try {
    await listen(server, host, port, setting);
    await new Promise((resolve) => server.close(resolve));
    return [ok(`${host}:${port} is free (${setting})`)];
  } catch (error) {
    const reason = ((error as Error).cause as NodeJS.ErrnoException).code;
    if (reason === 'EADDRINUSE') return [await askHolder(setting, host, port, path, explain)];
    return [cannotOpen(`${host}:${port} cannot be opened: ${reason} (${setting})`, hintOf(reason))];
  }
}

async function askHolder(
  setting: string,
  host: string,
  port: number,
  path: string,
  explain: ListenerToCheck['explain'],
): Promise<Found> {
  const place = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
  try {
    const signal = AbortSignal.timeout(answerWithinMs);
    const answer = await fetch(`http://${place}:${port}${path}`, { signal, redirect: 'manual' });
    return explain(answer.status, await answer.text());
  } catch {
    return otherProgram(setting, port);
  }
}

export function otherProgram(setting: string, port: number): Found {
  return cannotOpen(`another program holds port ${port} (${setting})`, 'End it, or choose another port.');
}

function cannotOpen(message: string, hint: string): Found {
  return problem(message, hint, new DaybookError('listener_unavailable').code);
}

function hintOf(reason: string | undefined): string {
  if (reason === 'EACCES') return 'Ports below 1024 need a permission of their own: choose a higher one.';
  if (reason === 'EADDRNOTAVAIL' || reason === 'ENOTFOUND') return 'This machine has no such address.';
  return 'Choose another address or port.';
}

/** The problem of two listeners of one program that are to share a port. */
export function checkDistinct(listeners: readonly ListenerToCheck[]): Found[] {
  const [first, ...others] = listeners;
  return others
    .filter(({ port }) => port !== 0 && port === first!.port)
    .map(({ setting }) => cannotOpen(`${first!.setting} and ${setting} are the same port`, 'Give each its own.'));
}
