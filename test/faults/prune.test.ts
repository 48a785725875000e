/** Every step of a prune fails before its effect and after it, or the process dies at it: the next prune ends it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { manifestKey } from '../../compactor/ledger/manifest.ts';
import type { PruneReport } from '../../compactor/ledger/prune-archive.ts';
import { openArchive, verify } from '../compactor/archive-under-test.ts';
import { type Books, openBooks } from '../compactor/books.ts';
import { prune, pruneTime } from '../compactor/ledger/prune-under-test.ts';
import { type Fault, faultyRemover, faultyStore } from './faulty.ts';
import { assertUnchanged, copiesOf, eventsOfDay, objectsOf } from './night-books.ts';

interface Step {
  readonly operation: string;
  readonly subject: string;
  readonly call: number;
}

const ages = { evidenceDays: 31, eventDays: 31 };
const prunedKey = /\.jsonl\.gz\.age$/;

function faultyPrune(books: Books, decide: (step: Step) => Fault): Promise<PruneReport> {
  const ask = (operation: string, subject: string, call: number) => decide({ operation, subject, call });
  return prune(books, ages, {
    store: (store) => faultyStore(store, ask),
    remover: (remover) => faultyRemover(remover, ask),
  });
}

async function withArchive(work: (books: Books) => Promise<void>): Promise<void> {
  const books = await openArchive();
  books.at(pruneTime);
  try {
    await work(books);
  } finally {
    await books.close();
  }
}

/** What is there is as it was, nothing is gone but what a manifest says, and the archive verifies to the last line. */
async function assertSound(books: Books, before: ReadonlyMap<string, string>): Promise<void> {
  const there = await objectsOf(books);
  const { pruned } = await books.ledger();
  const stays = [...before].filter(([key]) => there.has(key) || !pruned.has(key));
  await assertUnchanged(books, new Map(stays));
  assert.deepEqual((await verify(books)).breaks, []);
}

async function assertFinished(books: Books, before: ReadonlyMap<string, string>, expected: string[]): Promise<void> {
  const report = await prune(books, ages);
  assert.deepEqual([report.left, report.failures], [0, []]);
  await assertSound(books, before);
  const keys = (await books.keys()).filter((key) => !key.startsWith('manifests/'));
  assert.deepEqual(keys, expected);
  const again = await prune(books, ages);
  assert.deepEqual([again.manifest, again.removed], [null, 0]);
}

/** Ids and the quarantine, and evidence that is not old enough: there is none. */
const expectedIn = (before: ReadonlyMap<string, string>) =>
  [...before.keys()].filter(
    (key) => !key.startsWith('manifests/') && (key.startsWith('quarantine/') || !prunedKey.test(key)),
  );

const steps: Step[] = [];
await withArchive(async (books) => {
  await faultyPrune(books, (step) => {
    steps.push(step);
    return undefined;
  });
});

describe('every step of a prune fails before its effect, and after it', () => {
  test('the steps are: the ledger is read, what is there is listed, the anchors too, the manifest is written, nine objects go', () => {
    const count = (operation: string) => steps.filter((step) => step.operation === operation).length;
    assert.deepEqual([count('read'), count('list'), count('create'), count('remove')], [3, 3, 1, 9]);
    const order = steps.map(({ operation }) => operation);
    assert.ok(order.indexOf('create') < order.indexOf('remove'), 'the manifest comes first');
    assert.equal(steps.find(({ operation }) => operation === 'create')?.subject, manifestKey('', 4));
  });

  for (const { operation, subject, call } of steps) {
    if (operation === 'remove' && ![1, 4, 9].includes(call)) continue;
    for (const way of ['before', 'after'] as const) {
      test(`${operation} ${call} fails ${way} its effect`, async () => {
        await withArchive(async (books) => {
          const before = await objectsOf(books);
          let met = false;
          const outcome = await faultyPrune(books, (step) => {
            const isIt = step.operation === operation && step.call === call;
            if (operation !== 'remove' && step.subject !== subject) return undefined;
            met ||= isIt;
            return isIt ? way : undefined;
          }).catch((error) => error.code as string);
          assert.ok(met, 'the step was reached');
          const there = await objectsOf(books);
          if (typeof outcome === 'string') {
            assert.equal(outcome, 'store_unavailable');
            await assertUnchanged(books, before);
            assert.equal(there.size, before.size, 'where no manifest is known to be written nothing is deleted');
          } else if (operation === 'create') {
            assert.deepEqual([way, outcome.manifest, outcome.left], ['after', 4, 0], 'a manifest that is there is won');
          } else {
            assert.equal(outcome.manifest, 4);
            assert.deepEqual(
              outcome.failures.map(({ code }) => code),
              ['store_unavailable'],
            );
            assert.equal(outcome.removed + outcome.left, 9);
          }
          await assertSound(books, before);
          await assertFinished(books, before, expectedIn(before));
        });
      });
    }
  }

  test('a manifest that was written though nobody can tell: nothing is deleted, and the next prune deletes', async () => {
    await withArchive(async (books) => {
      const before = await objectsOf(books);
      const unknown = faultyPrune(books, ({ operation }) =>
        operation === 'create' ? 'after' : operation === 'head' ? 'before' : undefined,
      );
      await assert.rejects(unknown, { code: 'store_unavailable' });
      assert.equal((await books.ledger()).head?.number, 4);
      await assertUnchanged(books, before);
      await assertSound(books, before);
      const next = await prune(books, ages);
      assert.deepEqual([next.manifest, next.objects, next.unfinished.length, next.removed], [null, [], 9, 9]);
      await assertFinished(books, before, expectedIn(before));
    });
  });
});

const program = fileURLToPath(new URL('../../compactor/main.ts', import.meta.url));
const preload = new URL('night-kill.ts', import.meta.url);

/** Days that are years old by the real clock, which is the command's. */
async function openOldBooks(): Promise<Books> {
  const books = await openBooks();
  books.at('2024-03-07T03:00:00Z');
  // Ten objects to delete: more than are deleted at once.
  for (const day of [1, 2, 3, 4, 5].map((date) => `2024-03-0${date}`)) {
    await books.deliver(...eventsOfDay(day, 3, 'old').flatMap((event) => copiesOf(event, 1)));
  }
  await books.night([{ name: 'platform' }]);
  return books;
}

function startPrune(books: Books, environment: Record<string, string> = {}): ChildProcess {
  return spawn(
    process.execPath,
    ['--import', preload.href, program, 'prune', '--event-days', '31', '--evidence-days', '31', '--apply', '--json'],
    {
      cwd: books.directory,
      env: {
        PATH: process.env.PATH,
        DAYBOOK_DATA_DIR: books.directory,
        DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: join(books.directory, 'archive') } }),
        COMPACTOR_SIGNING_KEY: books.signingKey,
        LOG_LEVEL: 'error',
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
}

async function endOf(child: ChildProcess): Promise<{ code: number | null; signal: string | null; stderr: string }> {
  let stderr = '';
  child.stdout!.resume();
  child.stderr!.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code, signal] = await once(child, 'close');
  return { code, signal, stderr };
}

test('killed at any moment: the archive verifies, and the next prune ends it', async (t) => {
  const first = await openOldBooks();
  const { code, stderr } = await endOf(startPrune(first));
  assert.equal(code, 0, stderr);
  await first.close();
  const calls = Number(/file system calls: (\d+)/.exec(stderr)?.[1]);
  const seen = new Set<string>();
  // The last calls are the manifest's and the deletions'; those long before them load the program.
  const places = [
    ['before', 400] as const,
    ...[30, 24, 22, 21, 20, 19, 18, 14, 8, 2].map((fromEnd) => ['after', fromEnd] as const),
  ];
  for (const [way, fromEnd] of places) {
    const books = await openOldBooks();
    try {
      const before = await objectsOf(books);
      const end = await endOf(startPrune(books, { KILL_AT: `${calls - fromEnd}`, KILL_WAY: way }));
      assert.ok(end.signal === 'SIGKILL' || end.code === 0, end.stderr);
      const { pruned } = await books.ledger();
      const left = (await books.keys()).filter((key) => prunedKey.test(key)).length;
      seen.add(`${pruned.size} pruned, ${left} there`);
      await assertSound(books, before);
      books.at(new Date().toISOString());
      await assertFinished(books, before, expectedIn(before));
    } finally {
      await books.close();
    }
  }
  const met = `${calls} calls; states met: ${[...seen].sort().join('; ')}`;
  t.diagnostic(met);
  assert.ok(seen.has('0 pruned, 10 there') && seen.has('10 pruned, 10 there'), met);
  assert.ok(
    [1, 2, 3, 4, 5, 6, 7, 8, 9].some((left) => seen.has(`10 pruned, ${left} there`)),
    met,
  );
});
