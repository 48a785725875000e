/** What a restore gives of an archive, whole, filtered and damaged, and what it puts back on the stream. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { generateIdentity } from 'age-encryption';
import fc from 'fast-check';
import { pino } from 'pino';
import type { Manifest, Part } from '../../../compactor/ledger/manifest.ts';
import { type Restore, type RestoreReport, restoreArchive } from '../../../compactor/restore/restore-archive.ts';
import { checkSelection, lineSelector, type Selection } from '../../../compactor/restore/restore-selection.ts';
import { openStreamOutput } from '../../../compactor/restore/restore-stream.ts';
import { openSortBudget } from '../../../compactor/staging/external-sort.ts';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { readEnvelope } from '../../../shared/envelope.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { isCloudEventLine } from '../../../shared/event-line.ts';
import { canonicalJson } from '../../../shared/json/canonical-json.ts';
import type { ObjectStore } from '../../../shared/store/store.ts';
import { AppendError } from '../../../shared/stream/append-error.ts';
import type { AppendRecord, EventStreamWriter } from '../../../shared/stream/stream.ts';
import {
  eventsOf,
  forgeManifests,
  openArchive,
  pandaRecord,
  pathOf,
  sealLines,
  signedRecord,
} from '../archive-under-test.ts';
import { type Books, openBooks } from '../books.ts';

const silent = pino({ level: 'silent' });
let books: Books;
let first: Manifest;
/** Of platform: the 18th in manifest 1, the 19th, and the later part of the 18th in manifest 2. */
let part: Part;
let otherPart: Part;
let laterPart: Part;
let billing: Part;
/** All lines in the order of a restore: by day, source, manifest. */
let all: string[];
let kept: string;

before(async () => {
  books = await openArchive();
  kept = join(books.directory, 'kept');
  fs.cpSync(books.archive, kept, { recursive: true });
  first = await books.manifest(1);
  part = first.sources.platform!['2026-11-18']!.parts[0]!;
  otherPart = first.sources.platform!['2026-11-19']!.parts[0]!;
  billing = first.sources.billing!['2026-11-19']!.parts[0]!;
  laterPart = (await books.manifest(2)).sources.platform!['2026-11-18']!.parts[0]!;
  const keys = [part, laterPart, billing, otherPart].map(({ key }) => key);
  all = (await Promise.all(keys.map((key) => books.lines(key)))).flat();
});
afterEach(() => {
  fs.rmSync(books.archive, { recursive: true, force: true });
  fs.cpSync(kept, books.archive, { recursive: true });
});
after(() => books.close());

const everything: Selection = { sources: [], days: [], types: [], ids: [], objects: [], except: [] };

async function restore(
  selection: Partial<Selection> = {},
  change: Partial<Restore> & { of?: Books } = {},
): Promise<{ report: RestoreReport; lines: string[] }> {
  const of = change.of ?? books;
  const directory = await mkdtemp(join(tmpdir(), 'daybook-restore-test-'));
  let text = '';
  const write = async (bytes: Buffer) => {
    assert.equal(bytes.at(-1), 0x0a, 'whole lines');
    text += bytes.toString();
  };
  try {
    const report = await restoreArchive({
      store: of.store,
      ledger: await of.ledger(),
      selection: { ...everything, ...selection },
      identities: parseIdentities(of.identity),
      output: { write },
      budget: openSortBudget({ directory, maxBytes: 1024 * 1024 }),
      progress: () => {},
      ...change,
    });
    return { report, lines: text === '' ? [] : text.trimEnd().split('\n') };
  } finally {
    await rm(directory, { recursive: true });
  }
}

const parsed = (lines: readonly string[]) => lines.map((line) => JSON.parse(line));
const idsOf = (lines: readonly string[]): string[] => parsed(lines).map(({ id }) => id);

test('without a filter every line comes back, byte for byte, by day, source and manifest', async () => {
  const { report, lines } = await restore();
  assert.deepEqual(lines, all);
  assert.equal(all.length, 27);
  const { events, exact, repeated, skipped, notFound, failures } = report;
  assert.deepEqual([events, exact, repeated, skipped, notFound, failures], [27, true, 0, 0, [], []]);
  assert.deepEqual(
    report.parts.map(({ source, day, key, manifest, events }) => [source, day, key, manifest, events]),
    [
      ['platform', '2026-11-18', part.key, 1, 12],
      ['platform', '2026-11-18', laterPart.key, 2, 2],
      ['billing', '2026-11-19', billing.key, 1, 5],
      ['platform', '2026-11-19', otherPart.key, 1, 8],
    ],
  );
});

test('filters of one kind add up, those of different kinds narrow down; what fits is what JSON.parse says', async () => {
  const events = parsed(all);
  const typeOf = (at: number): string => events[at].type;
  const start = typeOf(0).split('.')[0]!;
  const object = events.find(({ data }) => typeof data?.object?.id === 'string').data.object.id;
  const fits: [Partial<Selection>, (event: never, line: string) => boolean][] = [
    [{ sources: ['billing'] }, ({ specversion }: { specversion?: string }) => specversion !== undefined],
    [{ types: [typeOf(0)] }, ({ type }: { type: string }) => type === typeOf(0)],
    [
      { types: [`${start}.*`, 'paid'] },
      ({ type }: { type: string }) => type.startsWith(`${start}.`) || type === 'paid',
    ],
    [{ types: ['*'] }, () => true],
    [{ types: [typeOf(0).slice(0, -1)] }, () => false],
    [{ ids: [events[3].id, events[14].id] }, ({ id }: { id: string }) => id === events[3].id || id === events[14].id],
    [{ objects: [object] }, ({ data }: { data: { object?: { id?: string } } }) => data.object?.id === object],
    [{ ids: [events[3].id], types: ['none'] }, () => false],
    [{ except: [object] }, (_, line) => !line.includes(object)],
    [{ types: ['*'], except: ['"'] }, (_, line) => !line.includes('\\"')],
  ];
  for (const [selection, fit] of fits) {
    const expected = all.filter((line) => fit(JSON.parse(line) as never, line));
    const { lines, report } = await restore(selection);
    assert.deepEqual(lines, expected, JSON.stringify(selection));
    assert.equal(report.events, expected.length);
  }
  const { lines } = await restore({ from: '2026-11-19', to: '2026-11-20', sources: ['platform', 'billing'] });
  assert.deepEqual(lines, all.slice(14));
  assert.deepEqual((await restore({ days: ['2026-11-18', '2026-11-22'] })).lines, all.slice(0, 14));
  assert.deepEqual((await restore({ days: ['2026-11-18'], from: '2026-11-19' })).lines, []);
});

test('a day, a type or a source that cannot be meant is refused', async () => {
  for (const selection of [
    { days: ['2026-02-30'] },
    { from: '2026-11' },
    { to: 'yesterday' },
    { types: ['*.paid'] },
    { types: [''] },
    { ids: [''] },
  ]) {
    assert.throws(() => checkSelection({ ...everything, ...selection }), { code: 'usage' }, JSON.stringify(selection));
  }
  await assert.rejects(restore({ sources: ['platfrom'] }), { code: 'usage', message: /billing, platform/ });
});

test('the selector finds what a parser finds, in whatever pieces and however the texts look (seeds are printed)', () => {
  const text = fc.oneof(
    fc.constantFrom('a', 'ab', 'a.b', 'a"b', 'ä\\', ':"', '"type":"a"'),
    fc.string({ maxLength: 4 }),
  );
  const nonEmpty = text.filter((value) => value !== '');
  const event = fc.record(
    {
      id: text,
      type: text,
      subject: text,
      specversion: fc.constant('1.0'),
      source: fc.constantFrom('/events/billing', '/stripe/x'),
      datacontenttype: fc.constant('application/json'),
      object: fc.constantFrom('event', 'v2.core.event'),
      data: fc.record({ object: fc.record({ id: text, type: text }) }),
      related_object: fc.record({ id: text }),
    },
    { requiredKeys: ['id', 'type'] },
  );
  const list = fc.array(nonEmpty, { maxLength: 20 });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 8 }), list, list, list, list, (events, types, ids, objects, except) => {
      const lines = events.map((one) => canonicalJson(JSON.stringify(one)));
      const about = (one: (typeof events)[number]) =>
        isCloudEventLine(one)
          ? one.subject
          : one.object === 'v2.core.event'
            ? one.related_object?.id
            : one.data?.object.id;
      const expected = lines.filter((line, at) => {
        const one = events[at]!;
        const hasType = types.some((type) =>
          type.endsWith('*') ? one.type.startsWith(type.slice(0, -1)) : one.type === type,
        );
        return (
          (types.length === 0 || hasType) &&
          (ids.length === 0 || ids.includes(one.id)) &&
          (objects.length === 0 || objects.includes(about(one)!)) &&
          !except.some((one) => line.includes(JSON.stringify(one).slice(1, -1)))
        );
      });
      const select = lineSelector({ ...everything, types, ids, objects, except });
      const runs = select(Buffer.from(lines.map((line) => `${line}\n`).join('')));
      assert.equal(Buffer.concat(runs).toString(), expected.map((line) => `${line}\n`).join(''));
    }),
    { numRuns: 500 },
  );
});

describe('ids', () => {
  /** Keeps what is read. */
  function watched(): { store: ObjectStore; read: string[] } {
    const read: string[] = [];
    const watching: ObjectStore = {
      ...books.store,
      read(key, range) {
        read.push(key);
        return books.store.read(key, range);
      },
    };
    return { store: watching, read };
  }

  test('a part that has none of them is not opened, whatever else is asked', async () => {
    const [id] = idsOf(await books.lines(otherPart.key));
    const { store, read } = watched();
    const { lines, report } = await restore({ ids: [id!, 'evt_nowhere'] }, { store });
    assert.deepEqual(idsOf(lines), [id]);
    assert.deepEqual(
      read.filter((key) => !key.endsWith('.ids.gz')),
      [otherPart.key, otherPart.key],
    );
    assert.deepEqual([report.skipped, report.notFound], [3, ['evt_nowhere']]);
  });

  test('ids that cannot be read rule nothing out: they are named, the part is looked at', async () => {
    const [id] = idsOf(await books.lines(otherPart.key));
    fs.rmSync(pathOf(books, otherPart.ids.key));
    const { lines, report } = await restore({ ids: [id!] });
    assert.deepEqual(idsOf(lines), [id]);
    assert.deepEqual(
      report.failures.map(({ code, key }) => [code, key]),
      [['object_missing', otherPart.ids.key]],
    );
  });
});

describe('a dry run', () => {
  const dry = (selection: Partial<Selection>, change: Partial<Restore> = {}) =>
    restore(selection, { output: undefined, ...change });

  test('counts by the manifests alone where no line has to be read, and is exact', async () => {
    for (const key of await books.keys('platform/')) if (key.endsWith('.age')) fs.rmSync(pathOf(books, key));
    const { report } = await dry({ sources: ['platform'] });
    assert.deepEqual([report.events, report.exact, report.failures], [22, true, []]);
    assert.deepEqual(report.parts[0]!.bytes, part.bytes);
  });

  test('counts ids exactly by the ids alone', async () => {
    const ids = idsOf([all[0]!, all[1]!, all[20]!]);
    for (const identities of [undefined, parseIdentities(books.identity)]) {
      const { report } = await dry({ ids: [...ids, 'evt_none'] }, { identities });
      assert.deepEqual([report.events, report.exact, report.notFound], [3, true, ['evt_none']]);
    }
  });

  test('says that it counts too many where only lines would tell, unless it may open them', async () => {
    const type: string = JSON.parse(all[0]!).type;
    const { report: blind } = await dry({ types: [type], sources: ['platform'] }, { identities: undefined });
    assert.deepEqual([blind.events, blind.exact], [22, false]);
    const { report: seeing } = await dry({ types: [type], sources: ['platform'] });
    const expected = parsed(all).filter((event) => event.type === type).length;
    assert.deepEqual([seeing.events, seeing.exact], [expected, true]);
    const { report: mixed } = await dry({ types: [type], ids: idsOf(all.slice(0, 2)) }, { identities: undefined });
    assert.deepEqual([mixed.events, mixed.exact], [2, false]);
  });
});

test('what is pruned is gone without a fault, and said: which day, why, and by which manifest', async () => {
  await forgeManifests(books, (manifest) => {
    if (manifest.number === 3) Object.assign(manifest, { pruned: [{ key: part.key, rule: 'eventDays=31' }] });
  });
  const [id] = idsOf(all);
  for (const isThere of [true, false]) {
    const { report, lines } = await restore();
    assert.deepEqual(lines, all.slice(12), `whether it is still there: ${isThere}`);
    const { key } = part;
    const gone = { source: 'platform', day: '2026-11-18', key, events: 12, rule: 'eventDays=31', prunedBy: 3 };
    assert.deepEqual([report.pruned, report.failures], [[gone], []]);
    const byId = (await restore({ ids: [id!, 'evt_none'] })).report;
    assert.deepEqual([byId.pruned, byId.notFound, byId.events], [[{ ...gone, events: 1 }], ['evt_none'], 0]);
    assert.deepEqual((await restore({ ids: idsOf(all.slice(12, 13)) })).report.pruned, []);
    fs.rmSync(pathOf(books, part.key), { force: true });
  }
});

describe('a damaged archive', () => {
  const failuresOf = ({ failures }: RestoreReport) => failures.map(({ code, key }) => [code, key]);

  for (const [what, damage, code] of [
    ['is missing', (path: string) => fs.rmSync(path), 'object_missing'],
    ['is cut', (path: string) => fs.truncateSync(path, fs.statSync(path).size - 1), 'object_damaged'],
    [
      'has one changed byte at its end',
      (path: string) => {
        const bytes = fs.readFileSync(path);
        bytes[bytes.length - 20]! ^= 1;
        fs.writeFileSync(path, bytes);
      },
      'object_damaged',
    ],
    [
      'has the bytes of another',
      (path: string) => fs.copyFileSync(pathOf(books, otherPart.key), path),
      'object_damaged',
    ],
  ] as const) {
    test(`a part that ${what} is named, nothing of it is handed out, and the others go on`, async () => {
      damage(pathOf(books, part.key));
      const { report, lines } = await restore();
      assert.deepEqual(lines, all.slice(12));
      assert.deepEqual(failuresOf(report), [[code, part.key]]);
    });
  }

  test('a whole part that somebody else sealed for the same recipient is not the one that the manifest names', async () => {
    const forged = await sealLines(books, part.key, ['{"id":"evt_forged"}']);
    fs.renameSync(pathOf(books, forged.key), pathOf(books, part.key));
    const { report, lines } = await restore({ days: ['2026-11-18'] });
    assert.deepEqual(lines, all.slice(12, 14));
    assert.deepEqual(failuresOf(report), [['object_damaged', part.key]]);
  });

  test('a part that changes between its two readings ends the restore: nothing of the output is to be trusted', async () => {
    const forged = await sealLines(books, part.key, ['{"id":"evt_forged"}']);
    let readings = 0;
    const store: ObjectStore = {
      ...books.store,
      read(key) {
        if (key === part.key) readings += 1;
        return books.store.read(key === part.key && readings === 2 ? forged.key : key);
      },
    };
    await assert.rejects(restore({}, { store }), { code: 'output_untrusted', message: /changed while it was read/ });
  });

  test('another identity opens nothing: each part is named, no line is handed out', async () => {
    const { report, lines } = await restore({}, { identities: [await generateIdentity()] });
    assert.deepEqual(lines, []);
    assert.deepEqual(
      report.failures.map(({ code }) => code),
      Array.from({ length: 4 }, () => 'sealed_unreadable'),
    );
  });

  test('a store that fails ends it: nothing is known of the archive', async () => {
    const store: ObjectStore = {
      ...books.store,
      read() {
        throw new DaybookError('store_unavailable', { detail: 'down' });
      },
    };
    await assert.rejects(restore({}, { store }), { code: 'store_unavailable' });
  });

  test('an output that fails ends it', async () => {
    const write = async () => {
      throw new DaybookError('output_failed');
    };
    await assert.rejects(restore({}, { output: { write } }), { code: 'output_failed' });
  });

  /** Names a further part of the 18th, with lines that are archived already, as only a key holder could. */
  async function repeatIn(lines: string[], of: Part, source: string, day: string): Promise<void> {
    const sealed = await sealLines(books, of.key, lines);
    const ids = await sealLines(books, of.ids.key, idsOf(lines).sort());
    await forgeManifests(books, (manifest) => {
      if (manifest.number !== 3) return;
      const { bytes, sha256, key } = sealed;
      const entry = structuredClone(first.sources.platform!['2026-11-18']!) as unknown as {
        parts: unknown[];
        lateDeliveries: unknown[];
      };
      entry.lateDeliveries = [];
      entry.parts = [
        {
          ...of,
          key,
          bytes,
          sha256,
          events: lines.length,
          ids: { key: ids.key, sha256: ids.sha256.ciphertext },
          deliveries: null,
        },
      ];
      const sources = manifest.sources as Record<string, Record<string, unknown>>;
      sources[source] = { ...sources[source], [day]: entry };
    });
  }

  test('an event that is archived twice comes back once, and it is counted', async () => {
    await repeatIn([all[0]!, all[20]!], part, 'platform', '2026-11-18');
    const { report, lines } = await restore();
    assert.deepEqual(lines.toSorted(), all.toSorted());
    assert.equal(report.repeated, 2);
    const [asked] = idsOf(all);
    const narrow = await restore({ ids: [asked!] });
    assert.deepEqual(idsOf(narrow.lines), [asked]);
  });

  test('where the first of two is damaged the second comes back', async () => {
    await repeatIn([all[0]!], part, 'platform', '2026-11-18');
    fs.truncateSync(pathOf(books, part.key), 100);
    const { report, lines } = await restore({ days: ['2026-11-18'] });
    assert.deepEqual([lines, report.repeated], [[...all.slice(12, 14), all[0]], 0]);
  });

  test('an id that another sender uses again after more than a month is another event', async () => {
    const line = all[14]!;
    const later = line.replace('2026-11-19', '2027-01-19');
    await repeatIn([later], billing, 'billing', '2027-01-19');
    const { report, lines } = await restore({ sources: ['billing'] });
    assert.deepEqual([lines.length, report.repeated], [6, 0]);
    const near = line.replace('2026-11-19', '2026-12-19');
    await repeatIn([near], billing, 'billing', '2026-12-19');
    assert.equal((await restore({ sources: ['billing'] })).report.repeated, 1);
  });
});

describe('to the stream', () => {
  const receivedAt = '2026-12-01T09:00:00.000Z';

  /** Fails as told, call by call; keeps what it took. */
  function faultyWriter(...faults: ((records: readonly AppendRecord[]) => AppendError | undefined)[]) {
    const taken: AppendRecord[] = [];
    const writer: EventStreamWriter = {
      maxValueBytes: undefined,
      async append(records) {
        const error = faults.shift()?.(records);
        const lost = new Set(error?.unacknowledged);
        taken.push(...records.filter((_, index) => !lost.has(index)));
        if (error !== undefined) throw error;
      },
      async probe() {},
      async prove() {},
      async close() {},
    };
    return { writer, taken };
  }
  const sleep = async () => {};
  const headersOf = (records: readonly AppendRecord[]) =>
    records.map(({ value }) => {
      const envelope = readEnvelope(value);
      assert.ok('header' in envelope, JSON.stringify(envelope));
      return envelope;
    });

  test('each record is the one that was delivered, but that nobody delivered it', async () => {
    const { writer, taken } = faultyWriter();
    const output = openStreamOutput({ writer, log: silent, receivedAt });
    await restore({}, { output });
    await output.finish();
    const given = [
      ...eventsOf('2026-11-18', 14, 'first').map((event) => signedRecord(event)),
      pandaRecord(1, '2026-11-19'),
    ];
    const byId = new Map(
      headersOf(taken).map((envelope, index) => [envelope.header.id, { envelope, key: taken[index]!.key }]),
    );
    assert.equal(byId.size, 27);
    for (const [index, delivered] of headersOf(given).entries()) {
      const { envelope, key } = byId.get(delivered.header.id)!;
      const { id, source, type, subject, time } = delivered.header;
      const scheme = source.startsWith('/stripe/') ? 'stripe' : 'none';
      const about = subject === undefined ? {} : { subject };
      assert.deepEqual(JSON.parse(`${envelope.headerBytes}}`), {
        ...{ specversion: '1.0', id, source, type, ...about, time, datacontenttype: 'application/json' },
        ...{ receivedat: receivedAt, via: 'restore', scheme },
      });
      assert.equal(envelope.data.toString(), canonicalJson(delivered.data.toString()));
      assert.equal(key, given[index]!.key);
    }
  });

  test('restored into the stream that it came from, the archive drops it: no line, no manifest', async () => {
    const own = await openArchive();
    try {
      const output = openStreamOutput({ writer: own.writer, log: silent, receivedAt });
      for (const time of ['2026-11-23T04:00:00Z', '2026-11-23T05:00:00Z']) {
        await restore({}, { of: own, output });
        await output.finish();
        own.at(time);
        const report = await own.night([{ name: 'billing' }, { name: 'platform' }]);
        assert.deepEqual([report.errors, report.manifest, report.days], [[], null, []]);
      }
      own.at('2026-11-24T03:00:00Z');
      const next = await own.night([{ name: 'billing' }, { name: 'platform' }]);
      assert.deepEqual(
        next.days.flatMap(({ parts }) => parts),
        [],
      );
      assert.deepEqual((await restore({}, { of: own })).lines, all);
    } finally {
      await own.close();
    }
  });

  test('restored without somebody into a new archive, the rest is there under its days, and that person is not', async () => {
    const object: string = JSON.parse(all[0]!).data.object.id;
    const successor = await openBooks();
    try {
      const output = openStreamOutput({ writer: successor.writer, log: silent, receivedAt });
      await restore({ except: [object] }, { output });
      await output.finish();
      successor.at('2026-12-02T03:00:00Z');
      const report = await successor.night([{ name: 'billing' }, { name: 'platform' }], { acceptRestored: true });
      assert.deepEqual(report.errors, []);
      const { lines } = await restore({}, { of: successor });
      const expected = all.filter((line) => !line.includes(object));
      assert.ok(expected.length < all.length);
      assert.deepEqual(lines.toSorted(), expected.toSorted());
    } finally {
      await successor.close();
    }
  });

  const unacknowledged = (indexes: number[], options: ConstructorParameters<typeof AppendError>[1] = {}) =>
    new AppendError(indexes, { retry: true, ...options });

  test('what is not acknowledged is sent again, and what is acknowledged is not', async () => {
    const { writer, taken } = faultyWriter(
      () => unacknowledged([1, 3]),
      (records) => unacknowledged(records.map((_, index) => index)),
      () => unacknowledged([1]),
    );
    const output = openStreamOutput({ writer, log: silent, receivedAt, sleep });
    await restore({}, { output });
    await output.finish();
    assert.deepEqual(
      headersOf(taken)
        .map(({ header }) => header.id)
        .sort(),
      idsOf(all).sort(),
    );
    assert.deepEqual(output.refused(), { count: 0, ids: [] });
  });

  test('an event that the stream will never take is named, and the others go through', async () => {
    const ids = idsOf(all);
    const isLarge = ({ value }: AppendRecord) => Buffer.from(value).includes(`"id":"${ids[5]}"`);
    const tooLarge = (records: readonly AppendRecord[]) => {
      const found = records.findIndex(isLarge);
      if (found < 0) return undefined;
      const all = records.map((_, index) => index);
      // A batch may fail without a word on which record it is; a record alone is told apart.
      return unacknowledged(all, { retry: false, refused: records.length === 1 ? [0] : [] });
    };
    const { writer, taken } = faultyWriter(...Array.from({ length: 40 }, () => tooLarge));
    const output = openStreamOutput({ writer, log: silent, receivedAt, sleep });
    await restore({}, { output });
    await output.finish();
    assert.deepEqual(output.refused(), { count: 1, ids: [ids[5]] });
    assert.deepEqual(
      headersOf(taken).map(({ header }) => header.id),
      ids.filter((id) => id !== ids[5]),
    );
  });

  test('a stream that takes nothing ends it, after many tries; one that can never, at once', async () => {
    for (const [retry, expected] of [
      [true, 20],
      [false, 2],
    ] as const) {
      let calls = 0;
      const writer: EventStreamWriter = {
        ...faultyWriter().writer,
        async append(records) {
          calls += 1;
          throw unacknowledged(
            records.map((_, index) => index),
            { retry },
          );
        },
      };
      const output = openStreamOutput({ writer, log: silent, receivedAt, sleep });
      await assert.rejects(
        restore({}, { output }).then(() => output.finish()),
        { code: 'stream_unavailable' },
      );
      assert.equal(calls, expected);
    }
  });
});
