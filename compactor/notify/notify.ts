/**
 * Tells how a job ended, by webhook, where that is not as it was: what was told last is kept in `<data directory>/notified.json`,
 * by job and listener. Never rejects and takes a minute at most: a job is over when this begins, and its result stands.
 *
 * A listener that could not be told is told at the next end of that job. One that got it though its answer was lost is told
 * again, within one call under the same `webhook-id`.
 */
import { createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import type { Clock } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import { makeFolder } from '../../shared/files/folder.ts';
import { ask } from '../../shared/http/ask.ts';
import type { Listener } from '../../shared/notify-settings.ts';
import type { Logger } from '../../shared/program/log.ts';
import { signStandard } from '../../shared/schemes/standard.ts';
import { type EndOfJob, messageTo, stateOf } from './message.ts';

export interface Notifier {
  /** Resolves when all who are to be told were told, or could not be. One call after the other. */
  tell(end: EndOfJob): Promise<void>;
  /** Gives up what is under way. */
  stop(): Promise<void>;
}

export interface NotifierOptions {
  readonly listeners: readonly Listener[];
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of one try. This and the next are parameters for the sake of tests alone. */
  readonly limitMs?: number;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Before the second and the third try. */
const waitsMs = [2_000, 10_000];
const defaultLimitMs = 10_000;
const restFor = (ms: number, signal: AbortSignal): Promise<void> => rest(ms, undefined, { signal });

export function openNotifier(options: NotifierOptions): Notifier {
  const { listeners, dataDirectory, clock, log, limitMs = defaultLimitMs, sleep = restFor } = options;
  const path = join(dataDirectory, 'notified.json');
  const ending = new AbortController();
  let telling: Promise<void> = Promise.resolve();

  async function tellAll(end: EndOfJob): Promise<void> {
    const told = await readTold(path);
    const state = stateOf(end);
    const known = await Promise.all(
      listeners.map(async (listener): Promise<Told> => {
        const name = nameOf(end.job, listener);
        const before = told[name];
        // What was well all along is no news.
        const isNews = before === undefined ? state !== 'done' : before !== state;
        return !isNews || (await deliver(listener, end, before ?? null)) ? { [name]: state } : {};
      }),
    );
    // Dies here: they are told, and are told again at the next end.
    const now: Told = Object.assign({}, told, ...known);
    if (JSON.stringify(now) !== JSON.stringify(told)) await writeTold(dataDirectory, path, now);
  }

  async function deliver(listener: Listener, end: EndOfJob, before: string | null): Promise<boolean> {
    const id = `msg_${randomUUID().replaceAll('-', '')}`;
    const { contentType, body } = messageTo(listener, end, before, id);
    for (let attempt = 0; ; attempt += 1) {
      let why: string;
      try {
        const headers = { 'content-type': contentType, ...signed(listener, id, body, clock) };
        const question = { body: Buffer.from(body), headers, limitMs, maxBytes: 0, signal: ending.signal };
        const { status } = await ask(listener.url, question);
        if (status >= 200 && status < 300) return true;
        why = `HTTP ${status}`;
        if (status < 500 && status !== 408 && status !== 429) attempt = waitsMs.length;
      } catch (error) {
        why = messageOf(error);
      }
      const waitMs = waitsMs[attempt];
      // The URL of such a webhook is a secret.
      const said = { job: end.job, host: URL.parse(listener.url)?.hostname, reason: why };
      if (waitMs === undefined || ending.signal.aborted) {
        log.warn(said, 'a listener could not be told how a job ended; it is told at the next end');
        return false;
      }
      log.debug(said, 'a listener is told again how a job ended');
      // Cut short, the next try fails at once, and is the last.
      await sleep(waitMs, ending.signal).catch(() => {});
    }
  }

  return {
    tell(end) {
      if (listeners.length === 0 || end.outcome === 'stopped') return Promise.resolve();
      telling = telling
        .then(() => tellAll(end))
        .catch((error: unknown) => log.warn({ reason: messageOf(error) }, 'what was told of jobs cannot be kept'));
      return telling;
    },
    stop() {
      ending.abort();
      return telling;
    },
  };
}

function signed({ secret }: Listener, id: string, body: string, clock: Clock): Record<string, string> {
  const timestamp = Math.floor(clock.now().getTime() / 1000);
  const headers = { 'webhook-id': id, 'webhook-timestamp': String(timestamp) };
  if (secret === undefined) return headers;
  return { ...headers, 'webhook-signature': signStandard(secret, id, timestamp, body) };
}

function nameOf(job: string, { url, format }: Listener): string {
  return `${job} ${createHash('sha256').update(`${format} ${url}`).digest('hex').slice(0, 16)}`;
}

type Told = Readonly<Record<string, string>>;

/** A file that is not there, or not ours: nothing is known. */
async function readTold(path: string): Promise<Told> {
  try {
    const told: unknown = JSON.parse(await fs.readFile(path, 'utf8'));
    return typeof told === 'object' && told !== null ? (told as Told) : {};
  } catch {
    return {};
  }
}

async function writeTold(folder: string, path: string, told: Told): Promise<void> {
  await makeFolder(folder);
  const temporary = `${path}.${randomUUID()}`;
  try {
    await fs.writeFile(temporary, JSON.stringify(told), { mode: 0o600, flag: 'wx' });
    await fs.rename(temporary, path);
  } finally {
    await fs.rm(temporary, { force: true });
  }
}
