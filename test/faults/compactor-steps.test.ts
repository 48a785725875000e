/** Every step of a night that touches store or stream fails once before its effect, and once after it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { NightReport } from '../../compactor/night.ts';
import { type Fault, faultyReader, faultyStore } from './faulty.ts';
import { assertBooks, assertUnchanged, objectsOf } from './night-books.ts';
import { openScenario, type Scenario, sources } from './night-scenario.ts';

interface Step {
  readonly operation: string;
  readonly subject: string;
  readonly call: number;
}

type Decide = (step: Step) => Fault;

/** The scenario's second night, in which `decide` is asked about every call. */
function secondNight({ books }: Scenario, decide: Decide): Promise<NightReport> {
  const ask = (operation: string, subject: string, call: number) => decide({ operation, subject, call });
  return books.night(sources, {
    stream: (reader) => faultyReader(reader, ask),
    store: (store) => faultyStore(store, ask),
  });
}

async function withScenario(work: (scenario: Scenario) => Promise<void>): Promise<void> {
  const scenario = await openScenario();
  try {
    await work(scenario);
  } finally {
    await scenario.books.close();
  }
}

/** What a run said: the codes in its report, or that of its rejection. */
async function outcomeOf(night: Promise<NightReport>): Promise<string[]> {
  try {
    return (await night).errors.map(({ code }) => code);
  } catch (error) {
    return [(error as { code?: string }).code ?? String(error)];
  }
}

/** A clean night, and the promises after it; then one more, which has nothing left to say. */
async function assertRepaired({ books, expected }: Scenario): Promise<void> {
  const before = await objectsOf(books);
  assert.deepEqual((await books.night(sources)).errors, []);
  await assertBooks(books, expected);
  await assertUnchanged(books, before);
  const keys = await books.keys();
  assert.deepEqual(await books.night(sources), { manifest: null, days: [], errors: [], warnings: [] });
  assert.deepEqual(await books.keys(), keys);
}

/** Those that write, and those whose bytes can all have come before they fail; a question has no effect to fail after. */
const hasAfter = new Set(['create', 'commit', 'read', 'list']);

const steps: Step[] = [];
await withScenario(async (scenario) => {
  await secondNight(scenario, (step) => {
    steps.push(step);
    return undefined;
  });
});

describe('every step of a night fails before its effect, and after it', () => {
  test('the steps are those of the stream, the ledger, the ids, each kind of object and the offsets', () => {
    const kinds = steps.map(({ operation, subject }) => `${operation} ${kindOf(subject)}`);
    for (const operation of ['create', 'head']) {
      const written = ['part', 'ids', 'deliveries', 'exceptions', 'quarantine'];
      for (const kind of written) assert.ok(kinds.includes(`${operation} ${kind}`));
    }
    const others = ['create manifest', 'list manifests', 'read manifest', 'read ids', 'read partition'];
    const streams = ['committed stream', 'snapshot stream', 'recordBefore partition', 'commit partition'];
    for (const kind of [...others, ...streams]) assert.ok(kinds.includes(kind), kind);
  });

  for (const { operation, subject, call } of steps.filter(isFirstOrLast)) {
    for (const way of ['before', 'after'] as const) {
      if (way === 'after' && !hasAfter.has(operation)) continue;
      test(`${operation} ${call} (${kindOf(subject)}) fails ${way} its effect`, async () => {
        await withScenario(async (scenario) => {
          const before = await objectsOf(scenario.books);
          let met = false;
          const night = secondNight(scenario, (at) => {
            // The store's reads and the stream's are counted apart.
            if (at.operation !== operation || at.call !== call || at.subject !== subject) return undefined;
            met = true;
            return way;
          });
          const codes = await outcomeOf(night);
          assert.ok(met, 'the step was reached');
          const isWon = operation === 'create' && kindOf(subject) === 'manifest' && way === 'after';
          if (isWon) assert.deepEqual(codes, [], 'a manifest that is there is won');
          else assert.ok(codes.length > 0, 'the run says that something failed');
          for (const code of codes) assert.match(code, /^(store|stream)_unavailable$/);
          await assertUnchanged(scenario.books, before);
          await assertRepaired(scenario);
        });
      });
    }
  }
});

/** Of calls that are made for each partition alike, the first and the last stand for all. */
function isFirstOrLast({ operation, subject, call }: Step): boolean {
  if (kindOf(subject) !== 'partition') return true;
  const calls = steps.filter((step) => step.operation === operation && kindOf(step.subject) === 'partition');
  return call === calls[0]?.call || call === calls.at(-1)?.call;
}

function kindOf(subject: string): string {
  if (subject === '') return 'stream';
  if (subject === 'manifests/') return 'manifests';
  if (subject.startsWith('manifests/')) return 'manifest';
  if (subject.startsWith('quarantine/')) return 'quarantine';
  if (subject.endsWith('.ids.gz')) return 'ids';
  if (subject.endsWith('.deliveries.jsonl.gz.age')) return 'deliveries';
  if (subject.endsWith('.exceptions.jsonl.gz.age')) return 'exceptions';
  return subject.endsWith('.jsonl.gz.age') ? 'part' : 'partition';
}
