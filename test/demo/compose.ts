/**
 * The last step of deploy/compose.yaml: the demo against the services that run there. A simulated Stripe at port 12111 of
 * the compactor's loopback (Stripe's API is asked by https, or on loopback) sends four days of events to ingest; the
 * compactor is told to close the days; the archive in the bucket is checked and opened. Exit 0 if it holds what it should.
 */
import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import type { ArchiveList } from '../../compactor/commands/list.ts';
import { newestClosedDay } from '../../compactor/day/closing.ts';
import type { EndedJob } from '../../compactor/serve/jobs.ts';
import type { ArchiveReport } from '../../compactor/verify/verify-archive.ts';
import { defaultOf } from '../../shared/config.ts';
import { messageOf } from '../../shared/errors.ts';
import { tableOf } from '../../shared/program/table.ts';
import { listedCopy } from '../stripe/events.ts';
import { startFakeStripe } from '../stripe/fake-stripe.ts';
import { deliver } from './deliver.ts';
import { describeAnswers, describeCheck, describeOutcome, say, title } from './describe.ts';
import { openPrograms } from './programs.ts';
import { readSecrets } from './sources-with-key.ts';
import { makeTraffic } from './traffic.ts';

const stripePort = 12_111;

async function demo(): Promise<void> {
  const [ingest, compactor] = process.argv.slice(2).map((url) => new URL(url));
  if (ingest === undefined || compactor === undefined) throw new Error('usage: compose.ts INGEST-URL COMPACTOR-URL');
  const development = join(process.env.DAYBOOK_DATA_DIR ?? defaultOf('DAYBOOK_DATA_DIR'), 'development');
  const sources = join(development, 'sources-with-key.json');
  const secrets = readSecrets(sources);
  const programs = openPrograms(development, ownSettings());
  const newest = newestClosedDay(new Date(), Number(defaultOf('COMPACTOR_LAG_SECONDS')));
  const traffic = makeTraffic(new Date().toISOString(), newest, Date.now());
  const stripe = await startFakeStripe({ port: stripePort });
  try {
    for (const { text } of traffic.account) stripe.add(listedCopy(text));

    title('1. Stripe and a billing server deliver to ingest');
    describeAnswers(await deliver(traffic, ingest, secrets), traffic.lost.size);

    title('2. The night closes the days');
    const { outcome, report } = await runNight(compactor);
    if (outcome !== 'done') throw new Error(`the night ended as ${outcome}: ${JSON.stringify(report)}`);
    const { days } = await programs.compactor<ArchiveList>(['list']);
    const rows = days
      .filter(({ events }) => events > 0)
      .map(({ day, source, events, counts, verdict }) => [day, source, events, counts.recovered, verdict]);
    say(tableOf(['day', 'source', 'events', 'recovered', 'verdict'], rows));

    title('3. The archive proves itself');
    const identity = ['--identity', join(development, 'identity.txt')];
    describeCheck(await programs.compactor<ArchiveReport>(['verify', ...identity, '--secrets', sources]));

    title('4. The events whose webhook never came');
    const ids = [...traffic.lost].flatMap((id) => ['--id', id]);
    const output = join(development, `lost-${Date.now()}.jsonl`);
    const { events } = await programs.compactor<{ events: number }>(['restore', ...identity, ...ids, '-o', output]);
    describeOutcome(traffic.lost.size, events);
  } finally {
    await stripe.close();
  }
}

/** daybook's settings of this process. */
function ownSettings(): Record<string, string> {
  const ours = Object.entries(process.env).filter(([name]) => /^(?:DAYBOOK|COMPACTOR)_/.test(name));
  return Object.fromEntries(ours) as Record<string, string>;
}

async function runNight(compactor: URL): Promise<EndedJob> {
  const headers = { 'X-Job-Secret': process.env.COMPACTOR_JOB_SECRET ?? '' };
  const started = await fetch(new URL('/jobs/run', compactor), { method: 'POST', headers });
  if (started.status !== 202) throw new Error(`the compactor answers ${started.status}: ${await started.text()}`);
  for (;;) {
    const answer = await fetch(new URL('/jobs', compactor), { headers });
    const { running, last } = (await answer.json()) as { running: unknown; last: EndedJob[] };
    if (running === null) return last[0]!;
    await rest(200);
  }
}

try {
  await demo();
} catch (error) {
  process.stderr.write(`demo: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
