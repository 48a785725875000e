/** Compactors that are killed with SIGKILL at any moment, and two that run at once, as processes of their own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as rest } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type { Books } from '../compactor/books.ts';
import { assertBooks, assertUnchanged, copiesOf, eventsOfDay, objectsOf } from './night-books.ts';
import { startNight } from './night-process.ts';
import { newDay, oldDay, openScenario, type Scenario, sources } from './night-scenario.ts';

const preload = new URL('night-kill.ts', import.meta.url);
const nothing = { manifest: null, days: [], errors: [], warnings: [] };

/** Dies at a call of the file system, or after a time; both as a share of what a whole run takes. */
type Death = { readonly at: 'call before' | 'call after' | 'time'; readonly share: number };

const deaths = fc.array(
  fc.record({
    at: fc.constantFrom<Death['at']>('call before', 'call after', 'time'),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  { minLength: 1, maxLength: 3 },
);

/** What a whole run of the scenario's second night takes, measured; the start of the program is not a part of its time. */
async function measureRun() {
  const scenario = await openScenario();
  try {
    const startedMs = performance.now();
    const { ended } = await startNight(scenario.books, { preload });
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
    const calls = Number(/file system calls: (\d+)/.exec(stderr)?.[1]);
    return { calls, ms: performance.now() - startedMs };
  } finally {
    await scenario.books.close();
  }
}

async function die(books: Books, { at, share }: Death, whole: { calls: number; ms: number }): Promise<boolean> {
  if (at === 'time') {
    const { child, ended } = await startNight(books);
    await rest(whole.ms * (0.3 + 0.7 * share));
    child.kill('SIGKILL');
    return (await ended).signal === 'SIGKILL';
  }
  const environment = { KILL_AT: `${1 + Math.floor(share * whole.calls)}`, KILL_WAY: at.slice('call '.length) };
  const { ended } = await startNight(books, { preload, environment });
  const { signal, code, stderr } = await ended;
  assert.ok(signal === 'SIGKILL' || code === 0, stderr);
  return signal === 'SIGKILL';
}

function stagingLeftovers(books: Books): string[] {
  return readdirSync(join(books.directory, 'staging')).filter((name) => name !== 'turn.lock');
}

async function assertMended({ books, expected }: Scenario): Promise<void> {
  const before = await objectsOf(books);
  assert.deepEqual((await books.night(sources)).errors, []);
  assert.deepEqual(stagingLeftovers(books), [], 'what dead runs staged is gone');
  await assertBooks(books, expected);
  await assertUnchanged(books, before);
  assert.deepEqual(await books.night(sources), nothing);
}

test('killed at any moment, any number of times: the next run ends with every event once and no object changed', async (t) => {
  const whole = await measureRun();
  let killed = 0;
  await fc.assert(
    fc.asyncProperty(deaths, async (ends) => {
      const scenario = await openScenario();
      try {
        const before = await objectsOf(scenario.books);
        for (const death of ends) if (await die(scenario.books, death, whole)) killed += 1;
        await assertUnchanged(scenario.books, before);
        await assertMended(scenario);
      } finally {
        await scenario.books.close();
      }
    }),
    { numRuns: 12, endOnFailure: true },
  );
  t.diagnostic(`${killed} runs were killed`);
  assert.ok(killed >= 12, `only ${killed} runs were killed`);
});

test('two processes at once on one store and stream archive every event once, and both end well', async () => {
  const scenario = await openScenario();
  const { books, expected } = scenario;
  const ids = [...expected.platform!.ids];
  let { deliveries = 0 } = expected.platform!;
  try {
    for (const round of [1, 2, 3]) {
      const events = [oldDay, newDay].flatMap((day) => eventsOfDay(day, 3, `round ${round}`));
      await books.deliver(...events.flatMap((event) => copiesOf(event, 1, 2)));
      ids.push(...events.map(({ id }) => id));
      deliveries += 12;
      const before = await objectsOf(books);
      const runs = await Promise.all([startNight(books), startNight(books)]);
      for (const { ended } of runs) {
        const { code, report, stderr } = await ended;
        assert.equal(code, 0, stderr);
        assert.deepEqual(report.errors, []);
      }
      await assertUnchanged(books, before);
      await assertBooks(books, { ...expected, platform: { ids, deliveries } });
      assert.deepEqual(stagingLeftovers(books), []);
    }
    assert.deepEqual(await books.night(sources), nothing);
  } finally {
    await books.close();
  }
});

test('a process that dies beside one that lives takes nothing from it', async () => {
  const scenario = await openScenario();
  const { books, expected } = scenario;
  try {
    const whole = await measureRun();
    const living = await startNight(books);
    const dead = await die(books, { at: 'call before', share: 0.9 }, whole);
    const { code, report, stderr } = await living.ended;
    assert.equal(code, 0, stderr);
    assert.deepEqual(report.errors, []);
    assert.ok(dead || report.manifest !== null);
    await assertBooks(books, expected);
    await assertMended(scenario);
  } finally {
    await books.close();
  }
});

test('processes that open and remove their staging folders at the same time never meet an error, and leave nothing', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-staging-'));
  const program = fileURLToPath(new URL('night-staging.ts', import.meta.url));
  try {
    const children = [1, 2, 3].map(() => spawn(process.execPath, [program, directory, '300'], { stdio: 'inherit' }));
    for (const ended of children.map((child) => once(child, 'close'))) assert.deepEqual(await ended, [0, null]);
    assert.deepEqual(readdirSync(join(directory, 'staging')), ['turn.lock']);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
