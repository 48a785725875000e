/** Prune: what goes, what stays, and that every other command copes with what is gone. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { listArchive } from '../../../compactor/commands/list.ts';
import { manifestKey } from '../../../compactor/ledger/manifest.ts';
import type { PruneReport } from '../../../compactor/ledger/prune-archive.ts';
import { dayOf } from '../../../shared/clock.ts';
import { DaybookError } from '../../../shared/errors.ts';
import type { ObjectBody, ObjectRemover, ObjectStore } from '../../../shared/store/store.ts';
import type { MadeEvent } from '../../stripe/events.ts';
import {
  eventsOf,
  forgeManifests,
  openArchive,
  pandaRecord,
  pathOf,
  signedRecord,
  verify,
} from '../archive-under-test.ts';
import type { Books } from '../books.ts';
import { stripeRecord } from '../books.ts';
import { prune, pruneTime } from './prune-under-test.ts';

let books: Books;
const sources = [{ name: 'billing' }, { name: 'platform' }];
const both = { evidenceDays: 31, eventDays: 31 };

beforeEach(async () => {
  books = await openArchive();
  books.at(pruneTime);
});
afterEach(() => books.close());

const kinds = ({ objects }: PruneReport) => objects.map(({ source, day, kind }) => `${source} ${day} ${kind}`);
const evidenceOf18 = ['deliveries', 'deliveries', 'lateDeliveries'].map((kind) => `platform 2026-11-18 ${kind}`);

async function assertVerified(information: RegExp): Promise<void> {
  for (const change of [{}, { identities: undefined }]) {
    const report = await verify(books, change);
    assert.deepEqual(report.breaks, []);
    assert.match(report.information.find(({ code }) => code === 'pruned')?.message ?? '', information);
  }
}

describe('what is pruned', () => {
  test('in a dry run nothing, and all of it is told', async () => {
    const there = await books.keys();
    const report = await prune(books, { evidenceDays: 32, eventDays: 31 }, { isDry: true });
    assert.deepEqual(kinds(report), [
      'billing 2026-11-19 part',
      ...evidenceOf18,
      'platform 2026-11-18 part',
      'platform 2026-11-18 part',
      'platform 2026-11-19 part',
    ]);
    assert.deepEqual(
      report.objects.slice(0, 2).map(({ lines, rule }) => [lines, rule]),
      [
        [5, 'eventDays=31'],
        [15, 'evidenceDays=32'],
      ],
    );
    const { objects, ...rest } = report;
    assert.deepEqual(rest, {
      ...{ dryRun: true, evidenceDays: 32, eventDays: 31, manifest: null, unfinished: [], held: 0 },
      ...{ removed: 0, hidden: 0, left: objects.length, failures: [] },
    });
    assert.deepEqual(await books.keys(), there);
  });

  test('what is older than its age, by days, and not what is just as old; nothing where no age is given', async () => {
    for (const [ages, days] of [
      [{ evidenceDays: 33 }, []],
      [{ evidenceDays: 32 }, ['2026-11-18']],
      [{ evidenceDays: 31 }, ['2026-11-18', '2026-11-19']],
      [{ eventDays: 32 }, ['2026-11-18']],
      [{}, []],
    ] as const) {
      const { objects } = await prune(books, ages, { isDry: true });
      assert.deepEqual([...new Set(objects.map(({ day }) => day))].sort(), days, JSON.stringify(ages));
      const wanted = 'eventDays' in ages ? ['part'] : ['deliveries', 'lateDeliveries'];
      assert.deepEqual(
        objects.filter(({ kind }) => !wanted.includes(kind)),
        [],
      );
    }
  });

  test('nothing younger than 31 days, whatever is asked: Stripe may still list it', async () => {
    for (const ages of [{ evidenceDays: 30 }, { eventDays: 30 }, { evidenceDays: 400, eventDays: 0 }]) {
      await assert.rejects(prune(books, ages), { code: 'usage', message: /younger than 31 days/ });
    }
  });

  test('applied, it is said by a manifest and gone; ids, manifests and the quarantine stay, and all verifies', async () => {
    const there = await books.keys();
    const report = await prune(books, both);
    assert.deepEqual([report.manifest, report.removed, report.left, report.failures], [4, 9, 0, []]);
    const gone = report.objects.map(({ key }) => key);
    assert.deepEqual(await books.keys(), [...there.filter((key) => !gone.includes(key)), manifestKey('', 4)].sort());
    assert.ok(gone.every((key) => !key.endsWith('.ids.gz')));
    assert.equal((await books.keys()).filter((key) => key.endsWith('.ids.gz')).length, 4);

    const manifest = await books.manifest(4);
    assert.deepEqual(
      manifest.pruned,
      report.objects.map(({ key, rule }) => ({ key, rule })),
    );
    const third = await books.manifest(3);
    assert.deepEqual([manifest.sources, manifest.quarantine], [{}, []]);
    assert.deepEqual(
      [manifest.stream, manifest.holes, manifest.firstDays, manifest.lists],
      [third.stream, third.holes, third.firstDays, third.lists],
    );
    const { head, newestNight } = await books.ledger();
    assert.deepEqual([head?.number, newestNight?.number], [4, 3]);
    await assertVerified(/^9 objects are pruned, as manifests say$/);
  });

  test('evidence alone: the events stay and open, and verify asks for no deliveries', async () => {
    const report = await prune(books, { evidenceDays: 31 });
    assert.deepEqual(new Set(report.objects.map(({ kind }) => kind)), new Set(['deliveries', 'lateDeliveries']));
    await assertVerified(/^5 objects are pruned/);
    const [part] = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts;
    assert.equal((await books.lines(part!.key)).length, 12);
  });

  test('events alone: the evidence stays, and is still checked against the ids', async () => {
    const report = await prune(books, { eventDays: 31 });
    assert.deepEqual(new Set(report.objects.map(({ kind }) => kind)), new Set(['part']));
    await assertVerified(/^4 objects are pruned/);
    fs.truncateSync(
      pathOf(books, (await books.manifest(1)).sources.platform!['2026-11-18']!.parts[0]!.deliveries!.key),
      100,
    );
    assert.deepEqual(
      (await verify(books)).breaks.map(({ code }) => code),
      ['object_damaged'],
    );
  });

  test('once: a second prune has nothing to say, and an empty archive neither', async () => {
    await prune(books, both);
    const there = await books.keys();
    const again = await prune(books, both);
    assert.deepEqual([again.manifest, again.objects, again.removed], [null, [], 0]);
    assert.deepEqual(await books.keys(), there);
    const empty = await prune(books, both, { prefix: 'elsewhere/', isDry: true });
    assert.deepEqual([empty.objects, empty.failures], [[], []]);
  });
});

describe('what is not pruned', () => {
  test('an object that is not there: no manifest may cover that up', async () => {
    const { deliveries, key } = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts[0]!;
    fs.rmSync(pathOf(books, deliveries!.key));
    const report = await prune(books, both);
    assert.deepEqual(
      report.failures.map(({ code, key }) => [code, key]),
      [['object_missing', deliveries!.key]],
    );
    assert.equal(report.removed, 8);
    assert.ok(report.objects.some((object) => object.key === key));
    assert.deepEqual(
      (await verify(books)).breaks.map(({ code, key }) => [code, key]),
      [['object_missing', deliveries!.key]],
    );
  });

  test('a part whose ids are not there: nothing else would tell that its events are archived', async () => {
    const { ids, key } = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts[0]!;
    fs.rmSync(pathOf(books, ids.key));
    const report = await prune(books, both);
    assert.deepEqual(
      report.failures.map(({ code, key }) => [code, key]),
      [['object_missing', key]],
    );
    assert.match(report.failures[0]!.message, new RegExp(`${ids.key} is not there`));
    assert.equal(fs.existsSync(pathOf(books, key)), true);
  });

  test('ids: a manifest that says they are pruned is wrong, and their absence stays a break', async () => {
    const { ids } = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts[0]!;
    fs.rmSync(pathOf(books, ids.key));
    await forgeManifests(books, (manifest) => {
      if (manifest.number === 3) Object.assign(manifest, { pruned: [{ key: ids.key, rule: 'eventDays=31' }] });
    });
    assert.deepEqual(
      (await verify(books)).breaks.map(({ code, manifest }) => [code, manifest]),
      [
        ['object_missing', 1],
        ['prune_wrong', 3],
      ],
    );
  });

  test('what is younger than 31 days: a manifest that prunes it is wrong, and it is named', async () => {
    const { key } = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts[0]!;
    for (const [createdAt, expected] of [
      ['2026-12-19T23:59:59Z', ['prune_wrong']],
      ['2026-12-20T00:00:00Z', []],
    ] as const) {
      await forgeManifests(books, (manifest) => {
        if (manifest.number === 3) Object.assign(manifest, { createdAt, pruned: [{ key, rule: 'eventDays=31' }] });
      });
      assert.deepEqual(
        (await verify(books)).breaks.map(({ code }) => code),
        expected,
        createdAt,
      );
    }
  });
});

describe('after a prune', () => {
  test('an event that is delivered, listed or restored once more is archived already', async () => {
    await prune(books, both);
    const events = eventsOf('2026-11-18', 14, 'first');
    await books.deliver(
      signedRecord(events[0]!, 90_000),
      stripeRecord(events[1]!.text, { header: { via: 'restore', scheme: 'none' } }),
      stripeRecord(events[2]!.text, { header: { via: 'list', scheme: 'none' } }),
      pandaRecord(3, '2026-11-19'),
    );
    const before = await books.ledger();
    assert.deepEqual((await books.night(sources)).errors, []);
    const ledger = await books.ledger();
    for (const [source, day, late] of [
      ['platform', '2026-11-18', 2],
      ['billing', '2026-11-19', 1],
    ] as const) {
      const state = ledger.sources.get(source)!.get(day)!;
      assert.deepEqual(state.parts, before.sources.get(source)!.get(day)!.parts);
      assert.equal(state.lateDeliveries.length, late, source);
    }
    await assertVerified(/^9 objects are pruned/);

    // What came late to a pruned day has its age at once.
    const more = await prune(books, both);
    assert.deepEqual(kinds(more), ['billing 2026-11-19 lateDeliveries', 'platform 2026-11-18 lateDeliveries']);
    await assertVerified(/^11 objects are pruned/);
  });

  test('a new event of a pruned day makes a further part, and the day goes on', async () => {
    await prune(books, both);
    await books.deliver(...eventsOf('2026-11-18', 2, 'very late').map((event) => signedRecord(event)));
    assert.deepEqual((await books.night(sources)).errors, []);
    const state = (await books.ledger()).sources.get('platform')!.get('2026-11-18')!;
    assert.deepEqual(
      state.parts.map(({ events }) => events),
      [12, 2, 2],
    );
    assert.equal((await books.lines(state.parts[2]!.key)).length, 2);
    await assertVerified(/^9 objects are pruned/);
  });

  test('the list says which days, which objects, why, and by which manifest', async () => {
    await prune(books, { evidenceDays: 31 });
    await prune(books, { eventDays: 32 });
    const { days } = listArchive(await books.ledger(), dayOf(books.now()));
    const dayNamed = (day: string) => days.find((each) => each.source === 'platform' && each.day === day)!;
    const [of18, of19, of20] = ['2026-11-18', '2026-11-19', '2026-11-20'].map(dayNamed);
    assert.deepEqual(
      [of18!.pruned, of19!.pruned, of20!.pruned],
      [
        { parts: 2, deliveries: 3 },
        { parts: 0, deliveries: 1 },
        { parts: 0, deliveries: 0 },
      ],
    );
    const [part] = of18!.parts;
    assert.deepEqual(
      [part!.pruned, part!.deliveriesPruned],
      [
        { manifest: 5, rule: 'eventDays=32' },
        { manifest: 4, rule: 'evidenceDays=31' },
      ],
    );
    assert.deepEqual([of19!.parts[0]!.pruned, of18!.lateDeliveries[0]!.pruned?.manifest], [null, 4]);
    // A manifest that prunes has no entry of a day.
    assert.equal(of18!.manifest.number, 2);
  });
});

describe('beside others', () => {
  const atManifest = (store: ObjectStore, meanwhile: () => Promise<unknown>): ObjectStore => {
    let isFirst = true;
    return {
      ...store,
      async create(key: string, body: ObjectBody) {
        if (isFirst) await meanwhile();
        isFirst = false;
        return store.create(key, body);
      },
    };
  };

  test('a night that writes the manifest first: the prune starts over from its ledger', async () => {
    await books.deliver(signedRecord(eventsOf('2026-11-18', 14, 'first')[6]!, 90_000));
    const report = await prune(books, both, { store: (store) => atManifest(store, () => books.night(sources)) });
    assert.equal(report.manifest, 5);
    assert.equal(kinds(report).filter((kind) => kind.endsWith('lateDeliveries')).length, 2);
    await assertVerified(/^10 objects are pruned, as manifests say$/);
  });

  test('a night that loses its manifest to a prune starts over too', async () => {
    await books.deliver(signedRecord(eventsOf('2026-11-18', 14, 'first')[7]!, 90_000));
    const report = await books.night(sources, {
      store: (store) => ({
        ...store,
        create: async (key, body) => {
          if (key === manifestKey('', 4)) await prune(books, both);
          return store.create(key, body);
        },
      }),
    });
    assert.deepEqual([report.manifest, report.errors], [5, []]);
    await assertVerified(/^9 objects are pruned/);
  });

  test('a verification that began before finds nothing missing', async () => {
    let report: PruneReport | undefined;
    const store: ObjectStore = {
      ...books.store,
      async *read(key, range) {
        if (!key.startsWith('manifests/')) report ??= await prune(books, both);
        yield* books.store.read(key, range);
      },
    };
    const verified = await verify(books, { store });
    assert.equal(report?.removed, 9);
    assert.deepEqual(verified.breaks, []);
  });

  test('a ledger that is behind the stream is not gone on with: nothing is written and nothing deleted', async () => {
    fs.rmSync(pathOf(books, manifestKey('', 3)));
    fs.rmSync(pathOf(books, manifestKey('', 2)));
    const there = await books.keys();
    await assert.rejects(prune(books, both), { code: 'ledger_behind' });
    assert.deepEqual(await books.keys(), there);
  });
});

describe('a store that does not delete', () => {
  const failing = (remover: ObjectRemover, fails: (key: string) => DaybookError | undefined): ObjectRemover => ({
    ...remover,
    async remove(key) {
      const failure = fails(key);
      if (failure !== undefined) throw failure;
      return remover.remove(key);
    },
  });

  test('one object: it is named, all others go, and the next run tries it again', async () => {
    const { key } = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts[0]!;
    const refusal = new DaybookError('removal_refused', { detail: `${key}: locked` });
    const remover = (real: ObjectRemover) => failing(real, (asked) => (asked === key ? refusal : undefined));
    const report = await prune(books, both, { remover });
    assert.deepEqual([report.manifest, report.removed, report.left], [4, 8, 1]);
    assert.deepEqual(report.failures, [{ code: 'removal_refused', key, message: `${key}: locked` }]);
    await assertVerified(/^9 objects are pruned, as manifests say; 1 of them are still there/);

    const again = await prune(books, {}, { remover });
    assert.deepEqual([again.manifest, again.unfinished, again.removed, again.left], [null, [key], 0, 1]);
    const freed = await prune(books, {});
    assert.deepEqual([freed.manifest, freed.unfinished, freed.removed, freed.left], [null, [key], 1, 0]);
    await assertVerified(/^9 objects are pruned, as manifests say$/);
  });

  test('at all: it is asked no further, and what is left is told', async () => {
    let asked = 0;
    const remover = (real: ObjectRemover) =>
      failing(real, () => {
        asked += 1;
        return new DaybookError('store_unavailable', { detail: 'injected' });
      });
    const report = await prune(books, both, { remover });
    assert.ok(asked <= 4, `asked ${asked} times`);
    assert.deepEqual([report.manifest, report.removed, report.left], [4, 0, 9]);
    assert.deepEqual(new Set(report.failures.map(({ code }) => code)), new Set(['store_unavailable']));
  });

  test('what is left is still checked: damage of it is a break', async () => {
    const { key } = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts[0]!;
    const remover = (real: ObjectRemover) => failing(real, () => new DaybookError('removal_refused', { detail: 'x' }));
    await prune(books, both, { remover });
    fs.truncateSync(pathOf(books, key), 100);
    assert.deepEqual(
      (await verify(books)).breaks.map(({ code, key }) => [code, key]),
      [['object_damaged', key]],
    );
  });
});

test('evidence that comes again byte for byte after it was pruned gets a name of its own, and stays', async () => {
  const { objects } = await prune(books, { evidenceDays: 31 });
  await books.deliver(signedRecord(eventsOf('2026-11-18', 14, 'first')[5]!, 7200));
  const { manifest } = await books.night(sources);
  const [late] = (await books.manifest(manifest!)).sources.platform!['2026-11-18']!.lateDeliveries;
  assert.match(late!.key, /-2\.deliveries\.jsonl\.gz\.age$/);
  assert.ok(
    objects.some(({ key }) => key === late!.key.replace('-2.deliveries', '.deliveries')),
    'the same bytes were pruned',
  );
  const report = await prune(books, {});
  assert.deepEqual([report.manifest, report.removed, report.unfinished], [null, 0, []]);
  assert.ok((await books.keys()).includes(late!.key));
  assert.deepEqual((await verify(books)).breaks, []);
});

test('exceptions go with the events, since they hold bodies too; what remains verifies and tells why', async () => {
  const [event] = eventsOf('2026-11-20', 1, 'differing') as [MadeEvent];
  const changed = event.text.replace('"data": {', '"data": {"changed":true,');
  await books.deliver(stripeRecord(event.text), stripeRecord(changed));
  books.at('2026-11-24T03:00:00Z');
  await books.night(sources);
  const { key } = (await books.manifest(4)).sources.platform!['2026-11-20']!.exceptions!;
  books.at('2026-12-22T09:00:00Z');
  const ofThatDay = ({ objects }: PruneReport) =>
    objects.filter(({ day }) => day === '2026-11-20').map(({ kind, lines, rule }) => [kind, lines, rule]);
  const evidence = await prune(books, { evidenceDays: 31 });
  assert.deepEqual(ofThatDay(evidence), [['deliveries', 2, 'evidenceDays=31']]);
  assert.ok((await books.keys()).includes(key));
  const events = await prune(books, { eventDays: 31 });
  assert.deepEqual(ofThatDay(events), [
    ['part', 1, 'eventDays=31'],
    ['exceptions', 1, 'eventDays=31'],
  ]);
  assert.ok(!(await books.keys()).includes(key));
  await assertVerified(/objects are pruned, as manifests say$/);
  const listed = listArchive(await books.ledger(), '2026-12-22').days.find(
    ({ source, day }) => source === 'platform' && day === '2026-11-20',
  );
  assert.deepEqual(
    listed?.exceptions.map(({ key, manifest, pruned }) => [key, manifest, pruned]),
    [[key, 4, { manifest: events.manifest, rule: 'eventDays=31' }]],
  );
});
