/**
 * Tells how a job ended, by webhook, where that is not as it was: what was told last is kept in `<data directory>/notified.json`,
 * by job and listener. Never rejects and takes a minute at most: a job is over when this begins, and its result stands.
 *
 * A listener that could not be told is told at the next end of that job. One that got it though its answer was lost is told
 * again, within one call under the same `webhook-id`.
 */
import { createHash, createHmac, randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import { makeFolder } from '../../shared/files/folder.ts';
import { postText } from '../../shared/http/post-text.ts';
import type { Listener } from '../../shared/notify-settings.ts';
import type { Logger } from '../../shared/program/log.ts';
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

export function openNotifier(options: NotifierOptions): Notifier {
  const { listeners, dataDirectory, clock, log, limitMs = defaultLimitMs, sleep = rest } = options;
  const path = join(dataDirectory, 'notified.json');
  const ending = new AbortController();
  let telling: Promise<void> = Promise.resolve();

  async function tellAll(end: EndOfJob): Promise<void> {
    const told = await readTold(path);
    const state = stateOf(end);
    const changed = listeners.filter((listener) => {
      const before = told[nameOf(end.job, listener)];
      // What was well all along is no news.
      return before === undefined ? end.outcome !== 'done' : before !== state;
    });
    const outcomes = await Promise.all(
      changed.map(async (listener) => {
        const before = told[nameOf(end.job, listener)] ?? null;
        return { listener, isTold: await deliver(listener, end, before) };
      }),
    );
    // Dies here: they are told, and are told again at the next end.
    const now = { ...told };
    for (const listener of listeners) now[nameOf(end.job, listener)] ??= state;
    for (const { listener, isTold } of outcomes) {
      if (isTold) now[nameOf(end.job, listener)] = state;
      else if (told[nameOf(end.job, listener)] === undefined) delete now[nameOf(end.job, listener)];
    }
    if (JSON.stringify(now) !== JSON.stringify(told)) await writeTold(dataDirectory, path, now);
  }

  async function deliver(listener: Listener, end: EndOfJob, before: string | null): Promise<boolean> {
    const id = `msg_${randomUUID().replaceAll('-', '')}`;
    const { contentType, body } = messageTo(listener, end, before, id);
    for (let attempt = 0; ; attempt += 1) {
      let why: string;
      try {
        const headers = { 'content-type': contentType, ...signed(listener, id, body, clock) };
        const status = await postText(listener.url, headers, body, { limitMs, signal: ending.signal });
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
      await sleep(waitMs, ending.signal);
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

/** Standard Webhooks 1.0.0, Signature scheme. */
function signed({ secret }: Listener, id: string, body: string, clock: Clock): Record<string, string> {
  const timestamp = String(Math.floor(clock.now().getTime() / 1000));
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp };
  if (secret === undefined) return headers;
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return { ...headers, 'webhook-signature': `v1,${signature}` };
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

async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => resolve(), { once: true });
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}
