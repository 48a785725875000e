/** Jobs as processes: one at a time, how they end, what is kept of them. Their program does as its arguments say. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import {
  type EndedJob,
  type JobRequest,
  type Jobs,
  type JobsOptions,
  openJobs,
} from '../../../compactor/serve/jobs.ts';
import { until } from '../until.ts';

const program = fileURLToPath(new URL('fake-job.ts', import.meta.url));
let jobs: Jobs;
let ended: (job: EndedJob) => void = () => {};
afterEach(() => jobs.stop());

function open(change: Partial<JobsOptions> = {}): Jobs {
  let nowMs = Date.parse('2026-11-21T03:00:00Z');
  // Each look at the clock is a second later.
  const clock = {
    now() {
      nowMs += 1_000;
      return new Date(nowMs);
    },
  };
  const log = pino({ level: 'silent' });
  jobs = openJobs({ program, clock, log, limitMs: 60_000, ended: (job) => ended(job), ...change });
  return jobs;
}

const request = (...given: string[]): JobRequest => ({ job: 'run', by: 'request', arguments: given });

/** Runs a job to its end. */
async function run(...given: string[]): Promise<EndedJob> {
  const { promise, resolve } = Promise.withResolvers<EndedJob>();
  ended = resolve;
  assert.equal(jobs.start(request(...given)), true);
  return promise;
}

test('a job tells when it began and ended, its outcome by the exit code, and its report', async () => {
  open();
  const report = { manifest: 3, errors: [] };
  assert.deepEqual(await run('--report', JSON.stringify(report)), {
    job: 'run',
    by: 'request',
    arguments: ['--report', JSON.stringify(report)],
    startedAt: '2026-11-21T03:00:01.000Z',
    endedAt: '2026-11-21T03:00:02.000Z',
    outcome: 'done',
    exitCode: 0,
    report,
  });
  const outcomes: [string, number | null][] = [];
  for (const given of [['--exit', '1'], ['--exit', '2'], ['--exit', '3'], ['--die']]) {
    const { outcome, exitCode } = await run(...given);
    outcomes.push([outcome, exitCode]);
  }
  assert.deepEqual(outcomes, [
    ['failed', 1],
    ['failed', 2],
    ['fault', 3],
    ['failed', null],
  ]);
});

test('of a report lists are kept short, what is not a report is none, and one without an end does not fill the memory', async () => {
  open();
  const long = { days: Array.from({ length: 50 }, (_, day) => day), errors: ['a'] };
  const { report } = await run('--report', JSON.stringify(long));
  assert.deepEqual(report, { days: long.days.slice(0, 20), errors: ['a'], omitted: { days: 30 } });
  for (const text of ['', 'no JSON', '[1]', 'null', '{"a":1}{']) {
    assert.equal((await run('--report', text)).report, null);
  }
  const endless = await run('--long', String(17 * 1024 * 1024), '--report', '{}');
  assert.deepEqual([endless.outcome, endless.report], ['done', null]);
});

test('one job at a time: of many starts at once one begins, and the next when it has ended', async () => {
  open();
  const first = Promise.withResolvers<EndedJob>();
  ended = first.resolve;
  const starts = Array.from({ length: 20 }, (_, index) => jobs.start(request('--report', `{"n":${index}}`)));
  assert.deepEqual(starts, [true, ...Array.from({ length: 19 }, () => false)]);
  assert.deepEqual((await first.promise).report, { n: 0 });
  assert.equal(jobs.running(), undefined);
  assert.equal((await run('--exit', '0')).outcome, 'done');
});

test('another job may be started as soon as one is said to have ended', async () => {
  open();
  const second = Promise.withResolvers<EndedJob>();
  ended = () => {
    ended = second.resolve;
    assert.equal(jobs.start(request('--report', '{"second":true}')), true);
  };
  jobs.start(request());
  assert.deepEqual((await second.promise).report, { second: true });
});

test('progress is readable while it runs; messages that are none change nothing', async () => {
  open();
  assert.equal(jobs.running(), undefined);
  jobs.start(request('--progress', '{"step":"listing platform","count":3000,"total":null,"job":"prune"}', '--wait'));
  assert.deepEqual([jobs.running()?.step, jobs.running()?.count], [null, null]);
  const running = await until(() => (jobs.running()?.step === null ? undefined : jobs.running()));
  assert.deepEqual(
    [running.job, running.startedAt, running.step, running.count, running.total],
    ['run', '2026-11-21T03:00:01.000Z', 'listing platform', 3000, null],
  );
  await jobs.stop();
  open();
  await run('--progress', '"nonsense"');
  await run('--progress', '{"step":7}');
});

test('the ten newest jobs are kept, the newest first', async () => {
  open();
  for (let number = 1; number <= 12; number += 1) await run('--report', `{"number":${number}}`);
  assert.deepEqual(
    jobs.last().map(({ report }) => report?.number),
    [12, 11, 10, 9, 8, 7, 6, 5, 4, 3],
  );
});

test('a job that takes longer than its limit is ended, by force where it does not listen, and the next one can run', async () => {
  open({ limitMs: 300, killAfterMs: 50 });
  const { outcome, exitCode } = await run('--deaf', '--wait');
  assert.deepEqual([outcome, exitCode], ['failed', null]);
  open();
  assert.equal((await run()).outcome, 'done');
});

test('stop ends what is running, by force where it does not listen, and nothing starts any more', async () => {
  for (const deaf of [[], ['--deaf']]) {
    open({ killAfterMs: 300 });
    const end = Promise.withResolvers<EndedJob>();
    ended = end.resolve;
    jobs.start(request(...deaf, '--progress', '{"step":"up","count":1}', '--wait'));
    await until(() => jobs.running()?.step ?? undefined);
    await jobs.stop();
    assert.deepEqual([(await end.promise).outcome, jobs.running()], ['stopped', undefined]);
    assert.equal(jobs.start(request()), false);
  }
});

test('a process that cannot be started is a job that failed, and holds up no other', async () => {
  const path = process.execPath;
  open();
  try {
    Object.defineProperty(process, 'execPath', { value: `${path}-is-not-there`, configurable: true, writable: true });
    const { outcome, exitCode } = await run();
    assert.deepEqual([outcome, exitCode], ['failed', null]);
  } finally {
    process.execPath = path;
  }
  assert.equal((await run()).outcome, 'done');
});

test('a job whose parent is gone ends by itself', async () => {
  const { fork } = await import('node:child_process');
  const child = fork(program, ['run', '--progress', '{"step":"up","count":1}', '--wait'], { stdio: 'ignore' });
  await once(child, 'message');
  const exit = once(child, 'exit');
  child.disconnect();
  assert.deepEqual(await exit, [null, 'SIGTERM']);
});
