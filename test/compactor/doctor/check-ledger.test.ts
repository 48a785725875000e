/** What doctor says of days, nights and the schedule: rules over a ledger, each found once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDays } from '../../../compactor/doctor/check-ledger.ts';
import { checkSchedule, type ScheduleSettings } from '../../../compactor/doctor/check-schedule.ts';
import { type Ledger, startLedger } from '../../../compactor/ledger/ledger.ts';
import type { Verdict } from '../../../compactor/ledger/manifest.ts';
import type { Found } from '../../../shared/doctor/finding.ts';

const now = '2026-11-20T12:00:00.000Z';
const nowMs = Date.parse(now);
const said = (found: readonly Found[]) => found.map(({ status, message }) => `${status}: ${message}`);

interface Given {
  readonly night?: string;
  readonly days?: Readonly<Record<string, Verdict>>;
  readonly holes?: Ledger['holes'];
}

function ledgerOf({ night = '2026-11-20T03:00:00.000Z', days = {}, holes = [] }: Given): Ledger {
  const head = { number: 7, sha256: '00', createdAt: night };
  const states = Object.entries(days).map(([day, verdict]) => [
    day,
    {
      ...{ parts: [], lateDeliveries: [], listedAt: null, accounts: [], missing: [], generationFailures: [], verdict },
      counts: { delivered: 0, recovered: 0, listed: null, notListed: null, differing: 0, duplicates: 0 },
      ...{ archivedAt: night, manifest: head },
    },
  ]);
  return {
    ...startLedger(),
    head,
    newestNight: head,
    holes,
    sources: new Map([['platform', new Map(states as never)]]),
  };
}

function days(given: Given, isListed = true): string[] {
  const sources = new Map([['platform', { isListed }]]);
  return said(checkDays(ledgerOf(given), { nowMs, lagSeconds: 3600, sources }));
}

test('days are counted by their verdict, and settled ones are not a complaint', () => {
  assert.deepEqual(
    days({ days: { '2026-11-17': 'complete', '2026-11-18': 'complete', '2026-11-19': 'provisional' } }),
    ['ok: platform: 3 days, 2026-11-17 to 2026-11-19: 2 complete, 1 provisional'],
  );
});

test('a day that could be settled and is not is a warning, once it is older than its night, where there is a list', () => {
  const given = {
    days: { '2026-11-15': 'provisional', '2026-11-16': 'provisional', '2026-11-19': 'provisional' },
  } as const;
  assert.deepEqual(days(given).slice(1), ['warning: platform: 2026-11-15 is provisional, and could be settled by now']);
  assert.equal(days(given, false).length, 1);
});

test('a day near the end of the list is told with its last day, by the code of the night, and not twice', () => {
  const given = {
    days: { '2026-10-25': 'provisional', '2026-10-26': 'incomplete', '2026-11-19': 'complete' },
  } as const;
  const sources = new Map([['platform', { isListed: true }]]);
  const found = checkDays(ledgerOf(given), { nowMs, lagSeconds: 3600, sources });
  assert.deepEqual(
    found.slice(1).map(({ code, message }) => [code, message]),
    [
      ['retention_near', 'platform: 2026-10-25 is provisional, and listed until 2026-11-23 alone'],
      ['retention_near', 'platform: 2026-10-26 is incomplete, and listed until 2026-11-24 alone'],
    ],
  );
});

test('many days near the end are a few findings', () => {
  const many = Array.from({ length: 6 }, (_, index) => [`2026-10-${22 + index}`, 'provisional'] as const);
  const found = days({ days: { ...Object.fromEntries(many), '2026-11-19': 'complete' } });
  assert.equal(found.length, 7);
  assert.equal(found.at(-1), 'warning: 1 more days are as near to it');
});

test('incomplete days and days of accounts that are not listed are warnings', () => {
  const given = {
    days: { '2026-11-10': 'incomplete', '2026-11-11': 'unreconciled', '2026-11-19': 'complete' },
  } as const;
  assert.deepEqual(days(given).slice(1), [
    'warning: platform: events are known of 2026-11-10 that could not be had',
    'warning: platform: 2026-11-11 has events that are not listed',
  ]);
  // Without a key there is no list, and every day is unreconciled: the check of the source says so.
  assert.deepEqual(days(given, false).slice(2), []);
});

test('a source whose newest day stays behind while nights run is told with its oldest missing day', () => {
  const given = { days: { '2026-11-15': 'complete', '2026-11-16': 'complete' } } as const;
  assert.deepEqual(days(given).slice(1), [
    'warning: platform: 2026-11-17 is the oldest day that is not archived, though nights run',
  ]);
  // Where no night runs, the schedule says so.
  assert.equal(days({ ...given, night: '2026-11-17T03:00:00.000Z' }).length, 1);
});

test('holes that the ledger knows are said, and no complaint', () => {
  const hole = { partition: '0', from: '1', to: '5', seenAt: '2026-11-02T03:00:00.000Z' };
  assert.deepEqual(days({ holes: [hole], days: { '2026-11-19': 'complete' } }).slice(1), [
    'ok: records aged out of the stream unread 1 time, last seen at 2026-11-02T03:00:00.000Z',
  ]);
});

const schedule: ScheduleSettings = { runHour: 3, isEnabled: true, lagSeconds: 3600, jobSecret: 'x'.repeat(32) };
const scheduled = (change: Partial<ScheduleSettings> = {}, given: Given = {}, at = nowMs) =>
  said(checkSchedule({ ...schedule, ...change }, ledgerOf(given), at));

test('a sound schedule is without complaint', () => {
  assert.deepEqual(scheduled(), [
    'ok: COMPACTOR_JOB_SECRET is set',
    'ok: serve runs a night each day at 03:00 UTC',
    'ok: the last night was at 2026-11-20T03:00:00.000Z',
  ]);
});

test('the secret of the jobs: not set is said, one with white space is a warning', () => {
  assert.match(scheduled({ jobSecret: undefined })[0]!, /^ok: COMPACTOR_JOB_SECRET is not set/);
  assert.match(scheduled({ jobSecret: ` ${'x'.repeat(32)}` })[0]!, /^warning: .* has white space around it/);
});

test('nights that are turned off, or that come before the day is closed, are warnings', () => {
  assert.match(scheduled({ isEnabled: false })[1]!, /^warning: COMPACTOR_ENABLED is false/);
  const early = scheduled({ runHour: 0 })[1]!;
  assert.equal(
    early,
    'warning: the night at 00:00 UTC is too early for the day before, which is closed 1 h after its end',
  );
});

test('a night that is missing is told with its days and the oldest day that is not archived', () => {
  const last = (night: string, at = now) => scheduled({}, { night }, Date.parse(at)).at(-1)!;
  assert.equal(
    last('2026-11-17T03:05:00.000Z'),
    'warning: no night has been written for 3 days, since 2026-11-17T03:05:00.000Z; 2026-11-17 is the oldest day not archived',
  );
  assert.match(last('2026-11-19T03:05:00.000Z'), /^warning: no night has been written for a day, /);
  // Tonight's is under way, or tried again.
  assert.match(last('2026-11-19T03:05:00.000Z', '2026-11-20T04:59:00.000Z'), /^ok/);
  assert.match(last('2026-11-19T03:05:00.000Z', '2026-11-20T05:01:00.000Z'), /^warning/);
  assert.match(last('2026-11-19T03:05:00.000Z', '2026-11-20T01:00:00.000Z'), /^ok/);
  assert.match(last('2026-11-25T03:00:00.000Z'), /^warning: the newest manifest .* is ahead of this machine's clock/);
  assert.deepEqual(said(checkSchedule(schedule, startLedger(), nowMs)).at(-1), 'ok: no night has written anything yet');
  assert.equal(checkSchedule(schedule, undefined, nowMs).length, 2);
});
