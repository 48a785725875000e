/** The listener of `serve` and its metrics, with jobs that do as their arguments say. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import request from 'supertest';
import { type DayState, type LedgerInLoading, startLedger } from '../../../compactor/ledger/ledger.ts';
import type { Verdict } from '../../../compactor/ledger/manifest.ts';
import type { EndOfJob } from '../../../compactor/notify/message.ts';
import type { Notifier } from '../../../compactor/notify/notify.ts';
import { isJobSecret } from '../../../compactor/serve/job-requests.ts';
import { openOtherJobs } from '../../../compactor/serve/other-jobs.ts';
import { type CompactorServer, serve } from '../../../compactor/serve/serve.ts';
import { addDays } from '../../../shared/clock.ts';
import type { ScheduledJob } from '../../../shared/job-schedule.ts';
import { promtoolFindings } from '../../promtool.ts';
import { emptyPlaces } from '../console/places.ts';
import { until } from '../until.ts';

const secret = 'of the jobs';
const today = '2026-11-21';
/** With nothing in it. */
const archive = mkdtempSync(join(tmpdir(), 'daybook-serve-'));
after(() => rmSync(archive, { recursive: true }));
let running: CompactorServer | undefined;
afterEach(() => running?.close());

interface Served {
  readonly api: ReturnType<typeof request>;
  readonly url: string;
  readonly log: Record<string, unknown>[];
  /** Starts a job and answers when it runs. */
  begin(path?: string, body?: object): Promise<request.Response>;
  metric(line: string): Promise<string | undefined>;
}

interface Change {
  readonly jobSecret?: string | undefined;
  readonly runHour?: number;
  readonly program?: string;
  readonly otherJobs?: readonly ScheduledJob[];
  readonly notifier?: Notifier;
  readonly now?: string;
  readonly ledger?: () => LedgerInLoading;
}

async function start(change: Change = {}): Promise<Served> {
  const log: Record<string, unknown>[] = [];
  running = await serve({
    host: '127.0.0.1',
    port: 0,
    adminHost: '127.0.0.1',
    adminPort: 0,
    jobSecret: 'jobSecret' in change ? change.jobSecret : secret,
    runHour: change.runHour,
    otherJobs: change.otherJobs ?? [],
    ...(change.notifier === undefined ? {} : { notifier: change.notifier }),
    lagSeconds: 3600,
    jobLimitSeconds: 3600,
    sources: ['billing', 'platform'],
    gate: { isTrustedProxy: () => false, actors: [], hosts: [] },
    program: fileURLToPath(new URL(change.program ?? 'waiting-job.ts', import.meta.url)),
    loadLedger: async () => (change.ledger ?? startLedger)(),
    places: emptyPlaces(archive, () => new Date(change.now ?? `${today}T10:00:00Z`)),
    clock: { now: () => new Date(change.now ?? `${today}T10:00:00Z`) },
    log: pino({ level: 'info' }, { write: (line: string) => void log.push(JSON.parse(line)) }),
  });
  const url = `http://127.0.0.1:${running.port}`;
  const admin = `http://127.0.0.1:${running.adminPort}/metrics`;
  return {
    api: request(url),
    url,
    log,
    begin: (path = '/jobs/run', body) => request(url).post(path).set('x-job-secret', secret).send(body),
    async metric(line) {
      const lines = (await (await fetch(admin)).text()).split('\n');
      return lines.find((each) => each.startsWith(`${line} `))?.slice(line.length + 1);
    },
  };
}

const problem = ({ status, type, body }: request.Response) => [status, type, body.code];
const jsonProblem = 'application/problem+json';

test('health and readiness answer whoever asks', async () => {
  const { api } = await start();
  const health = await api.get('/healthz');
  assert.deepEqual([health.status, health.body], [200, { status: 'ok' }]);
  assert.equal((await api.get('/readyz')).status, 200);
});

test('without the secret, with a wrong one, and where none is set, no job starts and none is seen', async () => {
  const wrong = [undefined, '', 'of the job', 'of  the jobs', secret.toUpperCase(), 'x'.repeat(10_000)];
  for (const jobSecret of [secret, undefined]) {
    const { api, log } = await start({ jobSecret });
    for (const given of jobSecret === undefined ? [...wrong, secret, 'undefined'] : wrong) {
      for (const answer of [
        api.post('/jobs/run'),
        api.post('/jobs/verify'),
        api.post('/jobs/prune'),
        api.get('/jobs'),
      ]) {
        if (given !== undefined) answer.set('x-job-secret', given);
        assert.deepEqual(problem(await answer), [403, jsonProblem, 'job_secret_refused'], String(given));
      }
    }
    const said = JSON.stringify(log);
    assert.ok(!said.includes('job started') && !said.includes(secret));
    await running?.close();
  }
});

test('a secret is right only where it is the one that is set', () => {
  assert.equal(isJobSecret('a', 'a'), true);
  for (const [given, set] of [
    ['a', 'b'],
    ['a', 'aa'],
    ['', 'a'],
    [undefined, 'a'],
    ['', undefined],
    [undefined, undefined],
  ]) {
    assert.equal(isJobSecret(given, set), false, `${given} ${set}`);
  }
});

test('a started job is 202, and of many requests at once every other is 409 with what is running, since when, how far', async () => {
  const { api, begin, metric, log } = await start();
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => begin(index % 2 === 0 ? '/jobs/run' : '/jobs/verify')),
  );
  const accepted = answers.filter(({ status }) => status === 202);
  assert.equal(accepted.length, 1);
  assert.equal(accepted[0]!.headers.location, '/jobs');
  const { job } = accepted[0]!.body.running;
  for (const answer of answers.filter((each) => each !== accepted[0])) {
    assert.deepEqual(problem(answer), [409, jsonProblem, 'job_running']);
    assert.deepEqual([answer.body.running.job, answer.body.running.startedAt], [job, `${today}T10:00:00.000Z`]);
  }
  const seen = await until(async () => {
    const { body } = await api.get('/jobs').set('x-job-secret', secret);
    return body.running.step === null ? undefined : body;
  });
  assert.deepEqual([seen.running.step, seen.running.count, seen.last], ['waiting', 1, []]);
  const refused = await begin('/jobs/verify');
  assert.deepEqual([refused.body.running.step, refused.body.running.count], ['waiting', 1]);
  assert.equal(await metric(`daybook_compactor_job_running{job="${job}"}`), '1');
  assert.equal(log.filter(({ msg }) => msg === 'job started').length, 1);
});

test('what a job did is told once it has ended', async () => {
  const { api, begin, metric } = await start({ program: 'reporting-job.ts' });
  assert.equal((await begin('/jobs/run', { days: ['2026-11-19', '2026-11-20'], force: true })).status, 202);
  const job = await until(async () => (await api.get('/jobs').set('x-job-secret', secret)).body.last[0]);
  const given = ['--day', '2026-11-19', '--day', '2026-11-20', '--force'];
  assert.deepEqual(job, {
    job: 'run',
    by: 'request',
    arguments: given,
    startedAt: `${today}T10:00:00.000Z`,
    endedAt: `${today}T10:00:00.000Z`,
    outcome: 'fault',
    exitCode: 3,
    report: { manifest: 1, errors: [], given: ['run', ...given, '--json'] },
  });
  const others = [
    ['/jobs/verify', { strict: true }, ['verify', '--strict', '--json']],
    ['/jobs/prune', {}, ['prune', '--json']],
    ['/jobs/prune', { apply: true }, ['prune', '--apply', '--json']],
    ['/jobs/replicate', { check: true }, ['replicate', '--check', '--json']],
  ] as const;
  for (const [index, [path, body, expected]] of others.entries()) {
    assert.equal((await begin(path, body)).status, 202);
    const next = await until(async () => {
      const { body } = await api.get('/jobs').set('x-job-secret', secret);
      return body.last.length === index + 2 ? body : undefined;
    });
    assert.deepEqual([next.running, next.last[0].report.given], [null, expected]);
  }
  assert.equal(await metric('daybook_compactor_jobs_total{job="run",outcome="fault"}'), '1');
  assert.equal(await metric('daybook_compactor_last_run_exit_code'), '3');
  const ranAt = String(Date.parse(`${today}T10:00:00Z`) / 1000);
  // A day that is known to be incomplete is exit 3 and no error.
  assert.equal(await metric('daybook_compactor_last_success_timestamp_seconds'), ranAt);
  assert.equal(await metric('daybook_compactor_last_run_end_timestamp_seconds'), ranAt);
});

test('options that are wrong are refused with the reason, and nothing starts', async () => {
  const { api, begin, log } = await start();
  const wrong: [string, object][] = [
    ['/jobs/run', { days: '2026-11-20' }],
    ['/jobs/run', { days: [] }],
    ['/jobs/run', { days: ['2026-02-30'] }],
    ['/jobs/run', { days: ['--now'] }],
    ['/jobs/run', { days: [today] }],
    ['/jobs/run', { force: 'yes' }],
    ['/jobs/run', { now: '2026-11-21T03:00:00Z' }],
    ['/jobs/verify', { identity: 'key.txt' }],
    ['/jobs/verify', { expectHead: '3:abc' }],
    ['/jobs/prune', { apply: 'yes' }],
    ['/jobs/prune', { eventDays: 31 }],
    ['/jobs/run', []],
  ];
  for (const [path, body] of wrong) {
    assert.deepEqual(problem(await begin(path, body)), [400, jsonProblem, 'job_invalid'], JSON.stringify(body));
  }
  const post = (body: string, headers: Record<string, string>) =>
    api
      .post('/jobs/run')
      .set({ 'x-job-secret': secret, 'content-type': 'application/json', ...headers })
      .send(body);
  assert.deepEqual(problem(await post('{"days":', {})), [400, jsonProblem, 'body_malformed']);
  assert.deepEqual(problem(await post('{}', { 'content-type': 'text/plain' })), [
    415,
    jsonProblem,
    'unsupported_media_type',
  ]);
  assert.deepEqual(problem(await post('{}', { 'content-encoding': 'gzip' })), [
    415,
    jsonProblem,
    'unsupported_content_encoding',
  ]);
  const large = JSON.stringify({ days: Array.from({ length: 3_000 }, () => '2026-11-20') });
  assert.deepEqual(problem(await post(large, {})), [413, jsonProblem, 'body_too_large']);
  assert.ok(!log.some(({ msg }) => msg === 'job started'));
});

test('an unknown path is 404, a wrong method 405 with those that are allowed', async () => {
  const { api } = await start();
  for (const path of ['/jobs/', '/jobs/drop', '/metrics', '/healthz/', '/%ff']) {
    assert.deepEqual(problem(await api.get(path)), [404, jsonProblem, 'unknown_route'], path);
  }
  for (const [path, allow] of [
    ['/jobs/run', 'POST'],
    ['/jobs/prune', 'POST'],
  ] as const) {
    const answer = await api.get(path);
    assert.deepEqual([...problem(answer), answer.headers.allow], [405, jsonProblem, 'method_not_allowed', allow]);
  }
  const answer = await api.post('/healthz');
  assert.deepEqual([...problem(answer), answer.headers.allow], [405, jsonProblem, 'method_not_allowed', 'GET, HEAD']);
});

test('a body that is not read, or is too long, is passed over: its rest is not taken for a request', async () => {
  const { url } = await start();
  for (const [given, status] of [
    ['wrong', 403],
    [secret, 413],
  ] as const) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    const body = 'GET /jobs HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(3_000);
    const job = `POST /jobs/run HTTP/1.1\r\nhost: x\r\nx-job-secret: ${given}\r\ncontent-type: application/json\r\n`;
    socket.write(`${job}content-length: ${body.length}\r\n\r\n${body}`);
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    const statuses = [...(await text(socket)).matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, number]) => Number(number));
    assert.deepEqual(statuses, [status, 200]);
  }
});

test('the night begins by itself after the run hour where none was, and its end does not start another', async () => {
  const { api, log } = await start({ runHour: 3, program: 'reporting-job.ts' });
  await until(() => log.find(({ msg }) => msg === 'job ended'));
  const { body } = await api.get('/jobs').set('x-job-secret', secret);
  assert.deepEqual([body.last[0].by, body.last[0].arguments], ['schedule', []]);
  assert.equal(log.filter(({ msg }) => msg === 'job started').length, 1);
});

test('what is to follow each run does so, once at the start too; each job waits for the one before it', async () => {
  const otherJobs: ScheduledJob[] = [
    { job: 'replicate', when: 'after run', options: ['--prune'] },
    { job: 'verify', when: 'after run', options: [] },
    { job: 'prune', when: '0 0 1 1 *', options: [] },
  ];
  const told: unknown[] = [];
  // Whoever is told may take as long as he likes.
  const notifier = {
    tell: (end: EndOfJob) => new Promise<void>(() => told.push([end.job, end.outcome])),
    stop: async () => {},
  };
  const { begin, log, metric } = await start({ otherJobs, notifier, program: 'reporting-job.ts' });
  const ended = (count: number) =>
    until(() => {
      const jobs = log.filter(({ msg }) => msg === 'job ended');
      return jobs.length >= count ? jobs.map(({ job, by }) => [job, by]) : undefined;
    });
  const both = [
    ['replicate', 'schedule'],
    ['verify', 'schedule'],
  ];
  assert.deepEqual(await ended(2), both);
  assert.equal((await begin()).status, 202);
  assert.deepEqual(await ended(5), [...both, ['run', 'request'], ...both]);
  assert.deepEqual(told.slice(0, 3), [
    ['replicate', 'fault'],
    ['verify', 'done'],
    ['run', 'fault'],
  ]);
  const started = log.filter(({ msg, job }) => msg === 'job started' && job === 'replicate');
  assert.deepEqual(started[0]?.arguments, ['--prune']);
  assert.equal(await metric('daybook_compactor_replica_manifests_behind'), '2');
  const newest = String(Date.parse('2026-11-20T03:00:00Z') / 1000);
  assert.equal(await metric('daybook_compactor_replica_newest_manifest_timestamp_seconds'), newest);
  const ranAt = String(Date.parse(`${today}T10:00:00Z`) / 1000);
  assert.equal(await metric('daybook_compactor_job_last_success_timestamp_seconds{job="replicate"}'), 'Nan');
  assert.equal(await metric('daybook_compactor_job_last_success_timestamp_seconds{job="verify"}'), ranAt);
});

test('a job with a time of its own begins then', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.parse('2026-11-22T05:59:59.000Z') });
  const begun: string[] = [];
  let isBusy = true;
  const jobs = openOtherJobs([{ job: 'prune', when: '0 6 * * 0', options: ['--apply'] }], (job, options) => {
    if (!isBusy) begun.push([job, ...options].join(' '));
    return !isBusy;
  });
  jobs.check();
  t.mock.timers.tick(2_000);
  isBusy = false;
  assert.deepEqual(begun, []);
  jobs.check();
  jobs.check();
  assert.deepEqual(begun, ['prune --apply']);
  t.mock.timers.tick(6 * 86_400_000);
  assert.equal(begun.length, 1);
  t.mock.timers.tick(86_400_000);
  assert.equal(begun.length, 2);
  jobs.stop();
});

test('before the hour, after a manifest of today, and without a schedule no night begins, but one that is asked for', async () => {
  const head = { number: 4, sha256: '', createdAt: `${today}T03:00:07.000Z` };
  const cases: Change[] = [
    { runHour: 11 },
    { runHour: 3, ledger: () => Object.assign(startLedger(), { head, newestNight: head }) },
    {},
  ];
  for (const change of cases) {
    const { begin, log, metric } = await start({ ...change, program: 'reporting-job.ts' });
    await until(async () => ((await metric('daybook_compactor_archive_up')) === '1' ? true : undefined));
    assert.ok(!log.some(({ msg }) => msg === 'job started'), JSON.stringify(change));
    assert.equal((await begin()).status, 202);
    await until(() => log.find(({ msg }) => msg === 'job ended'));
    await running?.close();
  }
});

test('the metrics say what the ledger says: days by verdict, unsettled ones near the end of the list, what is not archived', async () => {
  const ledger = () => {
    const loading = startLedger();
    loading.head = { number: 9, sha256: '', createdAt: `${today}T03:00:07.000Z` };
    loading.newestNight = loading.head;
    loading.firstDays = { platform: addDays(today, -30) };
    const days = new Map<string, DayState>();
    const set = (age: number, verdict: Verdict) => days.set(addDays(today, -age), { verdict } as DayState);
    for (let age = 30; age > 0; age -= 1) set(age, 'complete');
    for (const age of [30, 29, 24, 23, 1]) set(age, 'provisional');
    set(26, 'incomplete');
    days.delete(addDays(today, -12));
    loading.sources.set('platform', days);
    for (const [key, records] of [
      ['a', 2],
      ['b', 3],
    ] as const) {
      loading.quarantine.set(key, { key, records, sha256: { plaintext: '', ciphertext: '' } });
    }
    return loading;
  };
  const { metric } = await start({ ledger });
  const startOf = (age: number) => String(Date.parse(addDays(today, -age)) / 1000);
  await until(async () => ((await metric('daybook_compactor_archive_up')) === '1' ? true : undefined));
  const expected: [string, string][] = [
    ['quarantined_records', '5'],
    ['day_verdicts{source="platform",verdict="complete"}', '23'],
    ['day_verdicts{source="platform",verdict="provisional"}', '5'],
    ['day_verdicts{source="platform",verdict="incomplete"}', '1'],
    ['day_verdicts{source="billing",verdict="unreconciled"}', '0'],
    ['day_verdicts_near_retention{source="platform"}', '3'],
    ['day_verdicts_near_retention{source="billing"}', '0'],
    ['newest_archived_day_timestamp_seconds{source="platform"}', startOf(1)],
    ['newest_archived_day_timestamp_seconds{source="billing"}', 'Nan'],
    ['oldest_unarchived_day_timestamp_seconds{source="platform"}', startOf(12)],
    ['newest_manifest_timestamp_seconds', String(Date.parse(`${today}T03:00:07Z`) / 1000)],
    ['last_success_timestamp_seconds', String(Date.parse(`${today}T03:00:07Z`) / 1000)],
    ['last_run_exit_code', 'Nan'],
  ];
  for (const [name, value] of expected) assert.equal(await metric(`daybook_compactor_${name}`), value, name);
});

test('promtool finds nothing wrong with what is told', async (t) => {
  await start();
  const scraped = await (await fetch(`http://127.0.0.1:${running!.adminPort}/metrics`)).text();
  const findings = promtoolFindings(t, scraped);
  if (findings !== undefined) assert.equal(findings, '');
});

test('a ledger that cannot be read is told by a metric, and keeps nothing from answering', async () => {
  const { api, metric, log } = await start({
    ledger: () => {
      throw new Error('the store is away');
    },
  });
  await until(() => log.find(({ reason }) => reason === 'the store is away'));
  assert.equal(await metric('daybook_compactor_archive_up'), '0');
  assert.equal((await api.get('/healthz')).status, 200);
});
