import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { dueAt, type EndedNight, openSchedule, retryAt, type Schedule } from '../../../compactor/serve/schedule.ts';
import { dayMs, dayOf, startOfDayMs } from '../../../shared/clock.ts';

const hourMs = 3_600_000;
const minuteMs = 60_000;
const at = (time: string) => Date.parse(time);

test('a night is due at the run hour, or at once where it has passed and nothing was archived since', () => {
  const cases: [now: string, last: string | undefined, due: string][] = [
    ['2026-11-21T02:59:59.999Z', undefined, '2026-11-21T03:00:00Z'],
    ['2026-11-21T02:00:00Z', '2026-11-18T03:00:00Z', '2026-11-21T03:00:00Z'],
    ['2026-11-21T03:00:00Z', '2026-11-20T03:00:05Z', '2026-11-21T03:00:00Z'],
    ['2026-11-21T17:00:00Z', '2026-11-21T02:59:59Z', '2026-11-21T03:00:00Z'],
    ['2026-11-21T17:00:00Z', '2026-11-21T03:00:00Z', '2026-11-22T03:00:00Z'],
    ['2026-11-21T17:00:00Z', undefined, '2026-11-21T03:00:00Z'],
    // A manifest from the future, by a clock that was wrong, stops no night.
    ['2026-11-21T17:00:00Z', '2036-11-21T03:00:05Z', '2026-11-21T03:00:00Z'],
  ];
  for (const [now, last, due] of cases) {
    const lastMs = last === undefined ? undefined : at(last);
    assert.equal(new Date(dueAt(at(now), lastMs, 3)).toISOString(), new Date(due).toISOString(), `${now} ${last}`);
  }
});

test('a failed night is tried again five times with growing waits, on the same day alone', () => {
  const now = at('2026-11-21T03:00:00Z');
  const waits = [1, 2, 3, 4, 5, 6]
    .map((failures) => retryAt(now, now, failures))
    .map((ms) => ms && (ms - now) / minuteMs);
  assert.deepEqual(waits, [10, 30, 60, 120, 240, undefined]);
  const late = at('2026-11-21T23:49:59Z');
  assert.equal(retryAt(late, now, 1), at('2026-11-21T23:59:59Z'));
  assert.equal(retryAt(late + 1_000, now, 1), undefined);
  // It ended past midnight: the night of that day is still to come.
  assert.equal(retryAt(at('2026-11-22T00:00:01Z'), late, 2), undefined);
});

/** A schedule on a clock and an archive of the test's own. */
interface World {
  readonly schedule: Schedule;
  now: number;
  newest: { number: number; createdAt: string } | undefined | Error;
  busy: boolean;
  started: number;
  looked: number;
  timers: { atMs: number; call: () => void; cancelled: boolean }[];
  night(change?: Partial<EndedNight>): Promise<void>;
  logged: string[];
}

let open: Schedule | undefined;
afterEach(() => open?.stop());

function world(now: string, hour = 3): World {
  const logged: string[] = [];
  const log = pino({}, { write: (line: string) => void logged.push(JSON.parse(line).msg) });
  let startedMs = 0;
  const made: World = {
    now: at(now),
    newest: undefined,
    busy: false,
    started: 0,
    looked: 0,
    timers: [],
    logged,
    schedule: openSchedule({
      hour,
      clock: { now: () => new Date(made.now) },
      log,
      async newestManifest() {
        made.looked += 1;
        if (made.newest instanceof Error) throw made.newest;
        return made.newest;
      },
      run() {
        if (made.busy) return false;
        made.busy = true;
        made.started += 1;
        startedMs = made.now;
        return true;
      },
      at(atMs, call) {
        const timer = { atMs, call, cancelled: false };
        made.timers.push(timer);
        return {
          cancel() {
            timer.cancelled = true;
          },
        };
      },
    }),
    async night(change) {
      made.busy = false;
      made.schedule.ended({ startedMs, manifest: null, mayRetry: false, ...change });
      await made.schedule.check();
    },
  };
  open = made.schedule;
  return made;
}

test('started after the hour without a manifest of today it runs at once, once, also where the night writes nothing', async () => {
  const one = world('2026-11-21T10:00:00Z');
  one.newest = { number: 7, createdAt: '2026-11-20T03:00:09Z' };
  await one.schedule.check();
  assert.equal(one.started, 1);
  await one.night();
  await one.schedule.check();
  assert.equal(one.started, 1);
  one.now = at('2026-11-22T03:00:00Z');
  await one.schedule.check();
  assert.equal(one.started, 2);
});

test('a manifest of today, at or after the hour, is a night that took place', async () => {
  const one = world('2026-11-21T10:00:00Z');
  one.newest = { number: 8, createdAt: '2026-11-21T03:00:00.000Z' };
  await one.schedule.check();
  assert.equal(one.started, 0);
  const other = world('2026-11-21T10:00:00Z');
  other.newest = { number: 8, createdAt: '2026-11-21T02:59:59.999Z' };
  await other.schedule.check();
  assert.equal(other.started, 1);
});

test('a night that began before midnight and wrote after it is not taken for the next day’s', async () => {
  const one = world('2026-11-21T23:50:00Z', 0);
  await one.schedule.check();
  one.now = at('2026-11-22T00:10:00Z');
  one.newest = { number: 1, createdAt: '2026-11-22T00:10:00Z' };
  await one.night({ manifest: 1 });
  assert.equal(one.started, 2);
});

test('a night that is due while another job runs begins when that one has ended', async () => {
  const one = world('2026-11-21T03:00:00Z');
  one.busy = true;
  await one.schedule.check();
  assert.equal(one.started, 0);
  one.busy = false;
  await one.schedule.check();
  assert.equal(one.started, 1);
});

test('an archive that cannot be read starts the night, which says why; once known here it is not asked', async () => {
  const one = world('2026-11-21T03:00:00Z');
  one.newest = new Error('the store is away');
  await one.schedule.check();
  assert.equal(one.started, 1);
  await one.night();
  assert.deepEqual([one.started, one.looked], [1, 1]);
});

test('a night that failed is tried again though it wrote a manifest, five times, then on the next day', async () => {
  const one = world('2026-11-21T03:00:00Z');
  await one.schedule.check();
  for (const minutes of [10, 30, 60, 120, 240]) {
    one.newest = { number: one.started, createdAt: new Date(one.now).toISOString() };
    await one.night({ mayRetry: true, manifest: one.started });
    const { atMs, call } = one.timers.at(-1)!;
    assert.equal(atMs - one.now, minutes * minuteMs);
    const before = one.started;
    await one.schedule.check();
    assert.equal(one.started, before, 'not before its time');
    one.now = atMs;
    call();
    await one.schedule.check();
    assert.equal(one.started, before + 1);
  }
  await one.night({ mayRetry: true });
  assert.equal(one.timers.length, 5);
  assert.equal(one.logged.at(-1), 'the night failed; the next one takes up what it left');
  one.now = at('2026-11-22T03:00:00Z');
  await one.schedule.check();
  assert.equal(one.started, 7);
  await one.night({ mayRetry: true });
  assert.equal(one.timers.at(-1)!.atMs - one.now, 10 * minuteMs, 'counted again');
});

test('a retry that comes while another job runs waits for it; a night that succeeds takes it away', async () => {
  const one = world('2026-11-21T03:00:00Z');
  await one.schedule.check();
  await one.night({ mayRetry: true });
  one.now = one.timers[0]!.atMs;
  one.busy = true;
  one.timers[0]!.call();
  await one.schedule.check();
  assert.equal(one.started, 1);
  one.busy = false;
  await one.schedule.check();
  assert.equal(one.started, 2);
  await one.night({ mayRetry: true });
  await one.night();
  assert.ok(one.timers[1]!.cancelled);
  one.now = one.timers[1]!.atMs;
  await one.schedule.check();
  assert.equal(one.started, 2);
});

test('after stop nothing is started any more', async () => {
  const one = world('2026-11-21T03:00:00Z');
  one.schedule.stop();
  await one.schedule.check();
  assert.equal(one.started, 0);
});

type Ending = 'wrote' | 'nothing to say' | 'failed';

/** A compactor's life: down, up, down, up …; each night takes a while and ends in one of three ways. */
const lives = fc.record({
  hour: fc.nat(23),
  nightMs: fc.integer({ min: 1, max: 50 * minuteMs }),
  spans: fc.array(
    fc.record({ downMs: fc.integer({ min: 1, max: 3 * dayMs }), upMs: fc.integer({ min: 1, max: 4 * dayMs }) }),
    { minLength: 1, maxLength: 6 },
  ),
  endings: fc.infiniteStream(fc.constantFrom<Ending>('wrote', 'wrote', 'nothing to say', 'failed')),
});

interface BegunNight {
  readonly process: number;
  readonly beganMs: number;
  ending?: Ending;
}

test('over any starts and stops: a day whose night ended well gets no second, and none is missed that something was up for', async () => {
  await fc.assert(
    fc.asyncProperty(lives, async ({ hour, nightMs, spans, endings }) => {
      const slotOf = (ms: number) => startOfDayMs(dayOf(ms)) + hour * hourMs;
      const nights: BegunNight[] = [];
      const manifests: number[] = [];
      const due = new Set<string>();
      let nowMs = at('2026-11-01T00:00:00Z');
      for (const [process, { downMs, upMs }] of spans.entries()) {
        const upFromMs = nowMs + downMs;
        const endMs = upFromMs + upMs;
        const one = world(new Date(upFromMs).toISOString(), hour);
        for (let slot = slotOf(upFromMs); slot < endMs; slot += dayMs) {
          const from = Math.max(slot, upFromMs);
          // A night of the day before may take its time first.
          if (from + nightMs < Math.min(endMs, startOfDayMs(dayOf(slot)) + dayMs)) due.add(dayOf(slot));
        }
        let running: BegunNight | undefined;
        while (one.now < endMs) {
          one.newest =
            manifests.length === 0
              ? undefined
              : { number: manifests.length, createdAt: new Date(manifests.at(-1)!).toISOString() };
          if (running === undefined) await one.schedule.check();
          if (running === undefined && one.busy) {
            running = { process, beganMs: one.now };
            nights.push(running);
          }
          const slots = [slotOf(one.now), slotOf(one.now) + dayMs].filter((ms) => ms > one.now);
          const timers = one.timers.filter((timer) => !timer.cancelled && timer.atMs > one.now).map(({ atMs }) => atMs);
          const nightEndMs: number = running === undefined ? Number.POSITIVE_INFINITY : running.beganMs + nightMs;
          one.now = Math.min(endMs, nightEndMs, ...slots, ...timers);
          if (running === undefined || one.now < nightEndMs || one.now >= endMs) continue;
          const ending: Ending = endings.next().value;
          running.ending = ending;
          if (ending === 'wrote') manifests.push(one.now);
          one.busy = false;
          one.schedule.ended({
            startedMs: running.beganMs,
            manifest: ending === 'wrote' ? manifests.length : null,
            mayRetry: ending === 'failed',
          });
          running = undefined;
        }
        one.schedule.stop();
        nowMs = endMs;
      }
      for (const day of due) {
        const took = nights.some(({ beganMs }) => dayOf(beganMs) === day) || manifests.some((ms) => dayOf(ms) === day);
        assert.ok(took, `${day} has no night`);
      }
      for (const [index, night] of nights.entries()) {
        assert.ok(night.beganMs >= slotOf(night.beganMs), 'none begins before the hour');
        for (const { process, beganMs, ending } of nights.slice(0, index)) {
          // Another process knows of a night that wrote alone.
          const isKnown = ending === 'wrote' || (ending === 'nothing to say' && process === night.process);
          assert.ok(
            !(isKnown && dayOf(beganMs) === dayOf(night.beganMs) && dayOf(beganMs + nightMs) === dayOf(beganMs)),
            'a second night in a day',
          );
        }
      }
    }),
    { numRuns: 300 },
  );
});
