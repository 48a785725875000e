/**
 * Replays restored events to an HTTP endpoint, one after the other, signed by Standard Webhooks with a secret of its own: who
 * gets them can tell them from what a sender sent, and Stripe's signature is nobody's to repeat. Each request has the line as
 * its body, `webhook-id` `<source>/<id>` and `daybook-source`. What was sent and not acknowledged is sent again under the same
 * webhook-id, by which a receiver tells repeats.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as rest } from 'node:timers/promises';
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { type Agents, openAgents } from '../../shared/http/agents.ts';
import { ask } from '../../shared/http/ask.ts';
import type { Logger } from '../../shared/program/log.ts';
import { signStandard } from '../../shared/schemes/standard.ts';
import { writeState } from '../verify/verify-resume.ts';
import type { RestoreOutput } from './restore-archive.ts';
import type { Selection } from './restore-selection.ts';

const limitMs = 30_000;
const maxAnswerBytes = 1024 * 1024;
const maxTries = 12;
const minPauseMs = 500;
const maxPauseMs = 60_000;
const maxIdsNamed = 100;
const saveEveryMs = 1000;

export interface UrlOutput extends RestoreOutput {
  /** Events that were acknowledged by this run, and those that an earlier one had sent. */
  readonly sent: () => { readonly sent: number; readonly skipped: number };
  /** Events that the endpoint refuses (4xx): the first hundred ids, and how many there are. */
  refused(): { readonly count: number; readonly ids: readonly string[] };
  /** The state on disk, whatever ended the work. */
  save(): void;
  close(): void;
}

export interface Replay {
  readonly url: string;
  /** whsec_ and base64. */
  readonly secret: string;
  /** At most so many requests a second. */
  readonly perSecond: number;
  /** Where it is kept how many lines of each part went out; undefined: nowhere. */
  readonly resume?: string | undefined;
  readonly selection: Selection;
  readonly clock: Clock;
  readonly log: Logger;
  readonly sleep?: (ms: number) => Promise<unknown>;
}

const stateSchema = z.strictObject({
  format: z.literal('daybook-replay/1'),
  replay: z.string(),
  parts: z.record(z.string(), z.int().min(0)),
});

/** @throws DaybookError `usage` where the file of `resume` is of another replay, or not one */
export function openUrlOutput(replay: Replay): UrlOutput {
  const { url, secret, perSecond, resume, selection, clock, log, sleep = rest } = replay;
  const agents = openAgents(url);
  const name = createHash('sha256')
    .update(`${url}\n${JSON.stringify(selection)}`)
    .digest('hex')
    .slice(0, 16);
  const done = resume === undefined ? new Map<string, number>() : readState(resume, name);
  let part = '';
  let at = 0;
  let sent = 0;
  let skipped = 0;
  let nextMs = 0;
  let savedMs = 0;
  const refusedIds: string[] = [];
  let refusedCount = 0;

  function save(): void {
    if (resume === undefined) return;
    const state = { format: 'daybook-replay/1', replay: name, parts: Object.fromEntries(done) };
    writeState(resume, `${JSON.stringify(state)}\n`);
    savedMs = performance.now();
  }

  async function send(line: string, source: string): Promise<void> {
    const { id } = JSON.parse(line) as { id?: unknown };
    const pauseMs = nextMs - performance.now();
    if (pauseMs > 0) await sleep(pauseMs);
    nextMs = Math.max(performance.now(), nextMs) + 1000 / perSecond;
    const why = await post({ url, secret, agents, clock, log, sleep }, line, source, String(id));
    if (why === undefined) {
      sent += 1;
      return;
    }
    refusedCount += 1;
    if (refusedIds.length < maxIdsNamed) refusedIds.push(String(id));
    log.warn({ id, why }, 'the endpoint refuses an event');
  }

  return {
    async begin({ key }) {
      part = key;
      at = 0;
    },
    async write(lines, source) {
      for (let start = 0, end = 0; start < lines.length; start = end + 1) {
        end = lines.indexOf(0x0a, start);
        at += 1;
        if (at <= (done.get(part) ?? 0)) {
          skipped += 1;
          continue;
        }
        await send(lines.toString('utf8', start, end), source);
        done.set(part, at);
        // Dies here: what went out in the last second goes out again, under the same webhook-id.
        if (performance.now() - savedMs >= saveEveryMs) save();
      }
    },
    sent: () => ({ sent, skipped }),
    refused: () => ({ count: refusedCount, ids: refusedIds }),
    save,
    close() {
      agents.httpAgent.destroy();
      agents.httpsAgent.destroy();
    },
  };
}

type Post = Pick<Replay, 'url' | 'secret' | 'clock' | 'log'> & {
  readonly agents: Agents;
  sleep(ms: number): Promise<unknown>;
};

/** Until it is acknowledged: undefined. Where it never will be: why not. @throws DaybookError `replay_failed` */
async function post(
  { url, secret, agents, clock, log, sleep }: Post,
  line: string,
  source: string,
  eventId: string,
): Promise<string | undefined> {
  // A header takes visible ASCII alone.
  const id = /^[\x21-\x7e]+$/.test(eventId) ? eventId : `sha256-${createHash('sha256').update(eventId).digest('hex')}`;
  const webhookId = `${source}/${id}`;
  for (let tries = 1; ; tries += 1) {
    let why: string;
    let pauseMs = Math.min(maxPauseMs, minPauseMs * 2 ** tries);
    try {
      const timestamp = Math.floor(clock.now().getTime() / 1000);
      const headers = {
        'content-type': 'application/json',
        'webhook-id': webhookId,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': signStandard(secret, webhookId, timestamp, line),
        'daybook-source': source,
      };
      const question = { body: Buffer.from(line), headers, limitMs, maxBytes: maxAnswerBytes };
      const answer = await ask(url, question, agents);
      if (answer.status >= 200 && answer.status < 300) return undefined;
      why = `HTTP ${answer.status}`;
      const isLater = answer.status >= 500 || answer.status === 408 || answer.status === 425 || answer.status === 429;
      if (!isLater) return why;
      const after = Number(answer.headers['retry-after']);
      if (after > 0) pauseMs = Math.min(maxPauseMs, after * 1000);
    } catch (error) {
      why = messageOf(error);
    }
    if (tries === maxTries) throw new DaybookError('replay_failed', { detail: `${webhookId}: ${why}` });
    log.warn({ id: webhookId, tries, why }, 'the endpoint does not take an event, trying again');
    await sleep(pauseMs);
  }
}

function readState(path: string, name: string): Map<string, number> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable';
    if (code === 'ENOENT') return new Map();
    throw new DaybookError('usage', { detail: `--resume: the file cannot be read (${code})`, cause });
  }
  try {
    const state = stateSchema.parse(JSON.parse(text));
    if (state.replay === name) return new Map(Object.entries(state.parts));
  } catch {
    throw new DaybookError('usage', { detail: '--resume: the file is not one that restore has written' });
  }
  throw new DaybookError('usage', { detail: '--resume: the file is of another URL, or of other events' });
}
