/**
 * The life of a day (FORMAT.md, Verdicts), by the two programs as a user starts them: webhooks into ingest, a
 * `daybook-compactor run --now` at three o'clock of each of thirty days, Stripe simulated over HTTP with the same clock.
 * Several days are watched that fare differently; what is said of them each night is the table below.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ArchiveList } from '../../compactor/commands/list.ts';
import type { NightReport } from '../../compactor/night.ts';
import type { ArchiveReport } from '../../compactor/verify/verify-archive.ts';
import { makeDevelopmentFiles } from '../../deploy/scripts/development-values.ts';
import { addDays, type Day, dayOf, startOfDayMs } from '../../shared/clock.ts';
import { openPrograms } from '../demo/programs.ts';
import { listedCopy, type MadeEvent, stripeEvents } from '../stripe/events.ts';
import { startFakeStripe } from '../stripe/fake-stripe.ts';
import { generationFailureNotice } from '../stripe/thin-events.ts';
import { sendWebhook } from '../stripe/webhook-sender.ts';

/** The day whose life is looked at: so long ago that ingest, by the real clock, takes its events and all thirty nights'. */
const d = addDays(dayOf(Date.now()), -40);
const day = (number: number): Day => addDays(d, number);

const columns = [
  ['plain', 'platform', 0],
  ['announced', 'platform', 1],
  ['unusable', 'platform', 2],
  ['outage', 'platform', 9],
  ['accounts', 'connect', 0],
  ['key later', 'keyless', 0],
  ['long past', 'keyless', -25],
  ['wrong key', 'refused', 0],
] as const;

/** What a night has to say of each: verdict, lines so far; `+1` a part with one more line; nothing where it is silent. */
const expected = `
night  plain               announced        unusable         outage            accounts           key later          long past          wrong key
D+1    provisional 28 +28                                                      unreconciled 2 +2  unreconciled 3 +3  unreconciled 1 +1  provisional 2 +2
D+2    provisional 28      incomplete 3 +3                                     unreconciled 2
D+3    complete 28         incomplete 3     incomplete 1 +1                    unreconciled 2
D+4                        incomplete 3     incomplete 1                       unreconciled 2
D+5                        incomplete 3     incomplete 1                       unreconciled 2
D+6                        incomplete 3     complete 2 +1                      complete 3 +1
D+7    complete 29 +1      incomplete 3                                        complete 3
D+8                        incomplete 3
D+9                        incomplete 3     complete 2
D+10                       incomplete 3                      provisional 4 +4                     complete 4 +1      unverifiable 1
D+11                       incomplete 3                      provisional 4
D+12
D+13                       incomplete 3                      complete 4
D+14                       incomplete 3
D+15                       incomplete 3
D+16                       incomplete 3                      complete 4
D+17                       incomplete 3
D+18                       incomplete 3
D+19                       incomplete 3
D+20                       incomplete 3
D+21                       incomplete 3
D+22                       incomplete 3
D+23                       incomplete 3
D+24                       incomplete 3
D+25                       incomplete 3
D+26                       incomplete 3
D+27                       incomplete 3
D+28   complete 30 +1      incomplete 3
D+29                       incomplete 3
D+30                       incomplete 3     complete 2                                                                                  unverifiable 2
`.trim();

function made(of: Day, count: number, seed: string, account?: string): MadeEvent[] {
  const fromSeconds = startOfDayMs(of) / 1000;
  const events = stripeEvents({ count, seed: `${seed} ${of}`, fromSeconds, toSeconds: fromSeconds + 86_400 });
  if (account === undefined) return events;
  return events.map((event) => ({ ...event, text: event.text.replace(/^\{/, `{\n  "account": "${account}",`) }));
}

async function open(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-nights-'));
  let now = startOfDayMs(d);
  const accounts = ['acct_a', 'acct_b', 'acct_k'];
  const stripe = await startFakeStripe({ clock: { now: () => new Date(now) }, accounts });
  const keys = await makeDevelopmentFiles(folder);
  const programs = openPrograms(folder, {
    DAYBOOK_DATA_DIR: folder,
    DAYBOOK_SOURCES: 'sources.json',
    STRIPE_API_BASE: stripe.base.href,
    INGEST_PORT: '0',
    INGEST_ADMIN_PORT: '0',
    COMPACTOR_RECIPIENTS: keys.recipient,
    COMPACTOR_SIGNING_KEY_FILE: keys.signingKey,
    COMPACTOR_PUBLISH_RECOVERED: 'true',
    LOG_LEVEL: 'info',
    // Not daybook's: thirty starts of the program are a third of the time, and most of a start is compiling.
    NODE_COMPILE_CACHE: join(folder, 'compiled'),
  });
  t.after(async () => {
    await programs.stopIngest();
    await stripe.close();
    await rm(folder, { recursive: true, force: true });
  });
  const secretOf = (source: string) => `whsec_of_${source}`;
  /** The sources as they are configured from now on: what is beside name, scheme and secret. */
  const configure = (sources: Readonly<Record<string, object>>) =>
    writeFile(
      join(folder, 'sources.json'),
      JSON.stringify(
        Object.entries(sources).map(([name, more]) => ({ name, scheme: 'stripe', secrets: [secretOf(name)], ...more })),
      ),
    );
  return {
    ...{ stripe, keys, programs, configure },
    async deliver(url: URL, source: string, ...bodies: string[]) {
      for (const body of bodies) {
        const answer = await sendWebhook({
          url: new URL(`/webhooks/${source}`, url),
          body,
          secrets: [secretOf(source)],
        });
        assert.deepEqual([answer.status, answer.body], [200, '{"received":true}']);
      }
    },
    /** The run at three o'clock of D+number. */
    night(number: number, exitCode: number) {
      now = startOfDayMs(day(number)) + 3 * 3_600_000;
      return programs.compactor<NightReport>(['run', '--now', new Date(now).toISOString()], [exitCode]);
    },
  };
}

test('thirty nights: each day gets the verdict that it deserves, and every event is archived once', async (t) => {
  const { stripe, keys, programs, configure, deliver, night } = await open(t);
  const { apiKey } = stripe;
  const sources: Record<string, object> = {
    platform: { apiKey },
    connect: { apiKey, accounts: ['acct_a'] },
    keyless: {},
    refused: { apiKey: 'sk_test_ofYesterday' },
  };
  await configure(sources);
  const url = await programs.startIngest();

  // D: thirty events, twenty of them delivered; two appear late in the list.
  const plain = made(d, 30, 'plain');
  const lateFrom = [undefined, day(5), day(20)];
  for (const [at, { text }] of plain.entries()) {
    const visible = lateFrom[Math.max(0, at - 27)];
    stripe.add(listedCopy(text), visible === undefined ? {} : { visibleAtMs: startOfDayMs(visible) });
  }
  await deliver(url, 'platform', ...plain.slice(0, 20).map(({ text }) => text));
  // D+1: two events, and Stripe's word that it failed to generate a third.
  const announced = made(day(1), 2, 'announced');
  const created = `${day(1)}T15:00:00.000Z`;
  const notice = generationFailureNotice({ id: 'evt_notice', created, eventType: 'invoice.paid', object: 'in_lost' });
  for (const { text } of announced) stripe.add(text);
  stripe.add(notice.listed);
  // D+2: of two events one cannot be used as the list shows it, until Stripe mends it on D+5.
  const [usable, unusable] = made(day(2), 2, 'unusable') as [MadeEvent, MadeEvent];
  stripe.add(usable.text);
  stripe.add(unusable.text.replace('"data": {', `"data": {"deep":${'['.repeat(300)}${']'.repeat(300)},`));
  // D+9: its list cannot be had on D+12, when it would be settled.
  const outage = made(day(9), 4, 'outage');
  for (const { text } of outage) stripe.add(text);
  // Two accounts, of which one is not configured until D+6; a third event of that one is in the list alone.
  const connected = [...made(d, 1, 'connect', 'acct_a'), ...made(d, 2, 'connect', 'acct_b').slice(1)];
  const onlyListed = made(d, 3, 'connect', 'acct_b').slice(2);
  stripe.add(connected[0]!.text, { account: 'acct_a' });
  for (const { text } of [connected[1]!, ...onlyListed]) stripe.add(text, { account: 'acct_b' });
  await deliver(url, 'connect', ...connected.map(({ text }) => text));
  // No key until D+10: of D one event is missed, of D-25 nobody can be asked any more.
  const keyless = made(d, 4, 'keyless', 'acct_k');
  const longPast = made(day(-25), 1, 'keyless', 'acct_k');
  for (const { text } of keyless) stripe.add(text, { account: 'acct_k' });
  await deliver(url, 'keyless', ...[...keyless.slice(0, 3), ...longPast].map(({ text }) => text));
  // Stripe never takes this source's key.
  const refused = made(d, 2, 'refused');
  await deliver(url, 'refused', ...refused.map(({ text }) => text));

  const rows: string[][] = [];
  const lines = new Map<string, number>();
  const near: string[] = [];
  for (let number = 1; number <= 30; number += 1) {
    if (number === 2) {
      await deliver(url, 'platform', announced[0]!.text, notice.notification);
      // A second delivery of what is archived: evidence, no second line.
      await deliver(url, 'platform', plain[0]!.text);
    }
    if (number === 6) {
      stripe.remove(unusable.id);
      stripe.add(unusable.text);
      await configure(Object.assign(sources, { connect: { apiKey, accounts: ['acct_a', 'acct_b'] } }));
    }
    if (number === 10) await configure(Object.assign(sources, { keyless: { apiKey, accounts: ['acct_k'] } }));
    // From here on two of the sources have gone: what was said of their days stays.
    if (number === 13) {
      for (const name of ['connect', 'keyless']) delete sources[name];
      await configure(sources);
    }
    if (number === 12) {
      const action = { status: 500, body: '{}', headers: { 'stripe-should-retry': 'false' } };
      stripe.faults.push({ action, when: ({ path, account }) => path === '/v1/events' && account === undefined });
    }
    const report = await night(number, 2);
    const errors = report.errors.map(({ code, source }) => `${source} ${code}`);
    assert.deepEqual(errors, [...(number === 12 ? ['platform stripe_unreachable'] : []), 'refused stripe_key_refused']);
    near.push(...report.warnings.map(({ code, source, day: of }) => `D+${number} ${code} ${source} ${of}`));
    rows.push([`D+${number}`, ...columns.map(([, source, of]) => said(report, source, day(of), lines))]);
  }

  const table = aligned([['night', ...columns.map(([name]) => name)], ...rows]);
  t.diagnostic(`What each night says: verdict, lines in the archive, new ones\n${table}`);
  assert.equal(table, expected);
  const warnedOn = (source: string, of: Day) => near.filter((warning) => warning.endsWith(` ${source} ${of}`)).length;
  assert.deepEqual([warnedOn('refused', d), warnedOn('platform', day(1)), warnedOn('platform', d)], [6, 6, 0]);
  assert.equal(
    near.find((warning) => warning.endsWith(` refused ${d}`)),
    `D+24 retention_near refused ${d}`,
  );

  // Without the source that fails every night the exit code says what remains: a day that is known to be incomplete.
  delete sources.refused;
  await configure(sources);
  assert.deepEqual((await night(30, 3)).manifest, null, 'a second run on one day has nothing to say');
  await assertArchive();

  async function assertArchive() {
    const list = await programs.compactor<ArchiveList>(['list']);
    const countsOf = (source: string, of: Day) =>
      list.days.find((one) => one.source === source && one.day === of)?.counts;
    assert.deepEqual(countsOf('platform', d), {
      ...{ delivered: 20, recovered: 10, listed: 30 },
      ...{ notListed: 0, differing: 0, duplicates: 1 },
    });
    const check = ['verify', '--identity', keys.identity, '--secrets', 'sources.json'];
    const verified = await programs.compactor<ArchiveReport>(check);
    assert.deepEqual([verified.ok, verified.breaks], [true, []], 'every id once, all in its day and order');
    const verdictOf = (source: string) => list.days.find((one) => one.source === source && one.day === d)?.verdict;
    assert.deepEqual(['connect', 'keyless', 'refused'].map(verdictOf), ['complete', 'complete', 'unverifiable']);
    const events = list.days.reduce((sum, one) => sum + one.events, 0);
    const platform = plain.length + announced.length + 1 + 2 + outage.length;
    assert.equal(events, platform + 3 + keyless.length + 1 + refused.length);
    assert.equal(await programs.stopIngest(), 0);
  }
});

/** One cell: verdict, lines archived so far, `+n` the new ones; '' where the night is silent about the day. */
function said(report: NightReport, source: string, of: Day, lines: Map<string, number>): string {
  const entry = report.days.find((one) => one.source === source && one.day === of);
  if (entry === undefined) return '';
  const total = entry.counts.delivered + entry.counts.recovered;
  const more = total - (lines.get(`${source} ${of}`) ?? 0);
  lines.set(`${source} ${of}`, total);
  assert.equal(entry.parts.length, more > 0 ? 1 : 0, 'new lines are a part of their own');
  return `${entry.verdict} ${total}${more > 0 ? ` +${more}` : ''}`;
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
