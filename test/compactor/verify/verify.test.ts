import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { generateIdentity } from 'age-encryption';
import { type Manifest, type Part, sha256Hex } from '../../../compactor/ledger/manifest.ts';
import type { Break } from '../../../compactor/verify/breaks.ts';
import type { ArchiveReport } from '../../../compactor/verify/verify-archive.ts';
import { addDays } from '../../../shared/clock.ts';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { faultyStore } from '../../faults/faulty.ts';
import {
  eventsOf,
  forgeManifests,
  type Mutable,
  openArchive,
  pandaRecord,
  pathOf,
  sealLines,
  secretsGiven,
  signedRecord,
  verify,
} from '../archive-under-test.ts';
import type { Books } from '../books.ts';

let books: Books;
let first: Manifest;
let second: Manifest;
/** Of platform's 18th in manifest 1, its 19th, and the later part of the 18th in manifest 2. */
let part: Part;
let otherPart: Part;
let laterPart: Part;

/** The archive as it was written, for every test again. */
let kept: string;

before(async () => {
  books = await openArchive();
  kept = join(books.directory, 'kept');
  fs.cpSync(books.archive, kept, { recursive: true });
  [first, second] = [await books.manifest(1), await books.manifest(2)];
  part = first.sources.platform!['2026-11-18']!.parts[0]!;
  otherPart = first.sources.platform!['2026-11-19']!.parts[0]!;
  laterPart = second.sources.platform!['2026-11-18']!.parts[0]!;
});
afterEach(() => {
  fs.rmSync(books.archive, { recursive: true, force: true });
  fs.cpSync(kept, books.archive, { recursive: true });
});
after(() => books.close());

const codes = ({ breaks }: ArchiveReport) => breaks.map(({ code, manifest, key }) => ({ code, manifest, key }));

/** The report of an archive in which this and nothing else is broken. */
async function theOnlyBreak(expected: Omit<Break, 'message'>, message: RegExp, change = {}): Promise<ArchiveReport> {
  const report = await verify(books, change);
  assert.deepEqual(codes(report), [expected]);
  assert.match(report.breaks[0]!.message, message);
  assert.equal(report.ok, false);
  return report;
}

const copyOver = (from: string, to: string) => fs.copyFileSync(pathOf(books, from), pathOf(books, to));
const flipByte = (key: string, at: number) => {
  const bytes = fs.readFileSync(pathOf(books, key));
  bytes[at < 0 ? bytes.length + at : at]! ^= 1;
  fs.writeFileSync(pathOf(books, key), bytes);
};

describe('an archive as it was written', () => {
  test('verifies with the public keys alone, and changes nothing', async () => {
    const before = fs.readdirSync(books.directory, { recursive: true }).sort();
    const report = await verify(books, { identities: undefined });
    assert.deepEqual(report.breaks, []);
    assert.equal(report.ok, true);
    assert.equal(report.manifests, 3);
    // 4 parts with ids and deliveries each, one late delivery, one quarantined record.
    assert.equal(report.objects, 4 * 3 + 1 + 1);
    assert.deepEqual(
      report.days.filter(({ events }) => events > 0),
      [
        { source: 'billing', day: '2026-11-19', verdict: 'unreconciled', events: 5, breaks: 0, pruned: 0 },
        { source: 'platform', day: '2026-11-18', verdict: 'unreconciled', events: 14, breaks: 0, pruned: 0 },
        { source: 'platform', day: '2026-11-19', verdict: 'unreconciled', events: 8, breaks: 0, pruned: 0 },
      ],
    );
    assert.deepEqual(
      report.information.map(({ code }) => code),
      ['newest_manifest', 'not_opened'],
    );
    assert.deepEqual(fs.readdirSync(books.directory, { recursive: true }).sort(), before);
  });

  test('verifies to the last line with the private key, and its deliveries with the secrets', async () => {
    const report = await verify(books, { secrets: secretsGiven });
    assert.deepEqual(report.breaks, []);
    assert.deepEqual(report.deliveries, { checked: 12 + 3 + 8 + 5 + 2 + 1, failed: 0, unknownSecret: 0 });
  });

  test('deliveries whose secret is not given are counted, and no fault', async () => {
    const report = await verify(books, { secrets: new Map([['platform', secretsGiven.get('billing')!]]) });
    assert.equal(report.ok, true);
    assert.deepEqual(report.deliveries, { checked: 0, failed: 0, unknownSecret: 31 });
    assert.equal(report.information.find(({ code }) => code === 'secret_unknown') !== undefined, true);
  });

  test('what no manifest names is told and no fault', async () => {
    const orphan = part.key.replace('.jsonl', '-2.jsonl');
    copyOver(part.key, orphan);
    fs.writeFileSync(pathOf(books, 'notes.txt'), 'mine');
    const report = await verify(books);
    assert.equal(report.ok, true);
    assert.deepEqual(
      report.information.filter(({ key }) => key !== null).map(({ code, key }) => [code, key]),
      [
        ['orphan', orphan],
        ['other_file', 'notes.txt'],
      ],
    );
  });

  test('an archive without a manifest is a break, unless it is said to be new', async () => {
    fs.rmSync(pathOf(books, 'manifests'), { recursive: true });
    const unnamed = (await verify(books)).information.filter(({ code }) => code === 'orphan');
    assert.deepEqual([...new Set(unnamed.map(({ message }) => message))], ['no manifest names it']);
    fs.rmSync(books.archive, { recursive: true });
    const report = await verify(books);
    assert.deepEqual(codes(report), [{ code: 'archive_empty', manifest: 1, key: 'manifests/00000001.jsonl' }]);
    const empty = await verify(books, { allowEmpty: true });
    assert.deepEqual([empty.ok, empty.manifests, empty.objects], [true, 0, 0]);
  });
});

describe('the chain', () => {
  const key = (number: number) => `manifests/0000000${number}.jsonl`;

  test('a manifest that is missing in the middle is named, and what came before it is still checked', async () => {
    fs.rmSync(pathOf(books, key(2)));
    fs.rmSync(pathOf(books, part.key));
    const report = await verify(books);
    assert.deepEqual(codes(report), [
      { code: 'object_missing', manifest: 1, key: part.key },
      { code: 'ledger_broken', manifest: 2, key: key(2) },
    ]);
    assert.match(report.breaks[1]!.message, /is not there, but manifests\/00000003.jsonl is/);
    assert.equal(report.manifests, 1);
    assert.equal(report.information.at(-1)?.code, 'not_read');
  });

  test('the first manifest, when it is missing, is named', async () => {
    fs.rmSync(pathOf(books, key(1)));
    await theOnlyBreak({ code: 'ledger_broken', manifest: 1, key: key(1) }, /is not there/);
  });

  test('of deleted last manifests it says how they would be noticed', async () => {
    fs.rmSync(pathOf(books, key(3)));
    fs.rmSync(pathOf(books, key(2)));
    const report = await verify(books);
    assert.equal(report.ok, true);
    const told = report.information.find(({ code }) => code === 'newest_manifest');
    assert.match(told!.message, /manifest 1 is the newest here.*ledger_behind/);
    assert.equal(report.information.filter(({ code }) => code === 'orphan').length, 4);
  });

  test('a manifest that was edited is named, also where the chain after it was made to fit', async () => {
    // The forger has no key: the old signatures stay, the hashes are computed again.
    const signature = (number: number) => fs.readFileSync(pathOf(books, key(number)), 'utf8').split('\n')[1]!;
    const signatures = [1, 2, 3].map(signature);
    await forgeManifests(books, (manifest) => {
      if (manifest.number === 2) manifest.sources.platform!['2026-11-18']!.verdict = 'complete';
    });
    for (const [index, old] of signatures.entries()) {
      const [line] = fs.readFileSync(pathOf(books, key(index + 1)), 'utf8').split('\n');
      fs.writeFileSync(pathOf(books, key(index + 1)), `${line}\n${old}\n`);
    }
    await theOnlyBreak({ code: 'ledger_broken', manifest: 2, key: key(2) }, /signature does not hold/);
  });

  test('a manifest of a key that is not known is told from one that was changed', async () => {
    const stranger = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    await forgeManifests(books, () => {}, readSigner(stranger));
    const report = await theOnlyBreak(
      { code: 'signer_unknown', manifest: 1, key: key(1) },
      new RegExp(readSigner(stranger).keyId),
    );
    assert.equal(report.manifests, 0);
  });

  test('a manifest in the place of another does not follow', async () => {
    copyOver(key(3), key(2));
    await theOnlyBreak({ code: 'ledger_broken', manifest: 2, key: key(2) }, /says that it is number 3/);
  });

  test('a manifest that ends in the middle of a line is named', async () => {
    fs.truncateSync(pathOf(books, key(3)), 200);
    await theOnlyBreak({ code: 'ledger_broken', manifest: 3, key: key(3) }, /two lines/);
  });

  test('a file among the manifests that is none is mentioned, and no fault', async () => {
    for (const name of ['notes.txt', '.DS_Store', '00000001.jsonl.sha256', '0.jsonl']) {
      fs.writeFileSync(pathOf(books, `manifests/${name}`), '');
    }
    const report = await verify(books);
    assert.deepEqual(report.breaks, []);
    const mentioned = report.information.filter(({ code }) => code === 'other_file').map(({ key: at }) => at);
    assert.ok(mentioned.includes('manifests/notes.txt') && mentioned.includes('manifests/00000001.jsonl.sha256'));
  });

  test('a head that was told must be in the chain, behind it there may be more', async () => {
    const hash = (number: number) => sha256Hex(fs.readFileSync(pathOf(books, key(number))));
    for (const number of [1, 2, 3]) {
      const report = await verify(books, { expectHead: { number, sha256: hash(number) } });
      assert.deepEqual(report.breaks, []);
    }
    const expectHead = { number: 3, sha256: hash(3) };
    fs.rmSync(pathOf(books, key(3)));
    assert.deepEqual(codes(await verify(books, { expectHead })), [
      { code: 'head_unexpected', manifest: 3, key: key(3) },
    ]);
    const other = { number: 2, sha256: hash(1) };
    assert.deepEqual(codes(await verify(books, { expectHead: other })), [
      { code: 'head_unexpected', manifest: 2, key: key(2) },
    ]);
  });

  test('line 2 is a key and a signature, and not a byte more', async () => {
    const path = pathOf(books, key(3));
    const [one, two] = fs.readFileSync(path, 'utf8').trimEnd().split('\n') as [string, string];
    const { key: keyId } = JSON.parse(two);
    for (const bent of [
      `  ${two}`,
      two.replace('}', ',"note":"seen"}'),
      two.replace('}', `,"key":"${keyId}"}`),
      two.replace(':', ': '),
    ]) {
      fs.writeFileSync(path, `${one}\n${bent}\n`);
      assert.deepEqual(codes(await verify(books)), [{ code: 'ledger_broken', manifest: 3, key: key(3) }], bent);
    }
  });
});

describe('the bytes of the objects, without any private key', () => {
  const sealed = { identities: undefined };

  for (const [what, keyOf, manifest] of [
    ['a part', () => part.key, 1],
    ['ids', () => part.ids.key, 1],
    ['deliveries', () => part.deliveries!.key, 1],
    ['late deliveries', () => second.sources.platform!['2026-11-18']!.lateDeliveries[0]!.key, 2],
    ['a quarantine object', () => first.quarantine[0]!.key, 1],
  ] as const) {
    test(`${what}: missing, a flipped byte at either end, cut short, empty`, async () => {
      const key = keyOf();
      const bytes = fs.readFileSync(pathOf(books, key));
      for (const damage of [
        () => flipByte(key, 0),
        () => flipByte(key, -1),
        () => flipByte(key, bytes.length >> 1),
        () => fs.truncateSync(pathOf(books, key), bytes.length - 1),
        () => fs.truncateSync(pathOf(books, key), 0),
        () => fs.appendFileSync(pathOf(books, key), 'x'),
      ]) {
        damage();
        for (const change of [sealed, {}]) {
          await theOnlyBreak({ code: 'object_damaged', manifest, key }, /bytes/, change);
        }
        fs.writeFileSync(pathOf(books, key), bytes);
      }
      fs.rmSync(pathOf(books, key));
      for (const change of [sealed, {}]) {
        await theOnlyBreak({ code: 'object_missing', manifest, key }, /is not there/, change);
      }
    });
  }

  test('swapped objects are both named, each with the other', async () => {
    copyOver(part.key, 'kept');
    copyOver(otherPart.key, part.key);
    copyOver('kept', otherPart.key);
    fs.rmSync(pathOf(books, 'kept'));
    const report = await verify(books, sealed);
    assert.deepEqual(codes(report), [
      { code: 'object_damaged', manifest: 1, key: part.key },
      { code: 'object_damaged', manifest: 1, key: otherPart.key },
    ]);
    assert.deepEqual(
      report.breaks.map(({ message }) => message),
      [`has the bytes of ${otherPart.key}`, `has the bytes of ${part.key}`],
    );
    assert.deepEqual(
      report.days.filter(({ breaks }) => breaks > 0).map(({ day }) => day),
      ['2026-11-18', '2026-11-19'],
    );
  });

  test('swapped deliveries are damage, and nothing is made of what is in them', async () => {
    const [one, other] = [part.deliveries!.key, otherPart.deliveries!.key];
    const bytes = fs.readFileSync(pathOf(books, one));
    copyOver(other, one);
    fs.writeFileSync(pathOf(books, other), bytes);
    const report = await verify(books, { secrets: secretsGiven });
    assert.deepEqual(codes(report), [
      { code: 'object_damaged', manifest: 1, key: one },
      { code: 'object_damaged', manifest: 1, key: other },
    ]);
    assert.deepEqual(report.deliveries, { checked: 5 + 2 + 1, failed: 0, unknownSecret: 0 });
  });

  test("another day's ids under the name of these are damage, and no repeated ids", async () => {
    copyOver(otherPart.ids.key, part.ids.key);
    const message = new RegExp(`has the bytes of ${otherPart.ids.key}`);
    await theOnlyBreak({ code: 'object_damaged', manifest: 1, key: part.ids.key }, message, sealed);
  });

  test('the first break is the one of the lowest manifest, and all the others follow', async () => {
    flipByte(laterPart.key, 10);
    flipByte(first.quarantine[0]!.key, 10);
    flipByte(otherPart.key, 10);
    const report = await verify(books, sealed);
    assert.deepEqual(
      report.breaks.map(({ manifest, key }) => [manifest, key]),
      [
        [1, otherPart.key],
        [1, first.quarantine[0]!.key],
        [2, laterPart.key],
      ],
    );
  });

  test('a store that fails is not a fault of the archive', async () => {
    for (const operation of ['read', 'list'] as const) {
      for (const call of [1, 2, 5]) {
        if (operation === 'list' && call === 5) continue;
        const store = faultyStore(books.store, (name, _subject, at) =>
          name === operation && at === call ? 'before' : undefined,
        );
        await assert.rejects(verify(books, { store }), (error) => {
          assert(error instanceof DaybookError);
          return error.code === 'store_unavailable';
        });
      }
    }
  });
});

describe('what a holder of the signing key could have written', () => {
  type Entry = Mutable<Manifest['sources'][string][string]>;

  /** Changes the entry of platform's 18th in manifest 1. */
  const forgeEntry = (change: (entry: Entry) => void) =>
    forgeManifests(books, (manifest) => {
      if (manifest.number === 1) change(manifest.sources.platform!['2026-11-18']! as Entry);
    });

  /** Puts other lines into the part. */
  async function forgePart(change: (lines: string[]) => string[]): Promise<string> {
    const { key, sha256, bytes } = await sealLines(books, part.key, change(await books.lines(part.key)));
    await forgeEntry((entry) => Object.assign(entry.parts[0]!, { key, sha256, bytes }));
    return key;
  }

  async function forgeDeliveries(change: (lines: string[]) => string[]): Promise<string> {
    const old = part.deliveries!;
    const { key, sha256, lines } = await sealLines(books, old.key, change(await books.lines(old.key)));
    await forgeEntry((entry) => {
      entry.counts.duplicates += lines - old.count;
      entry.parts[0]!.deliveries = { key, sha256, count: lines };
    });
    await forgeManifests(books, (manifest) => {
      if (manifest.number === 2) manifest.sources.platform!['2026-11-18']!.counts.duplicates += lines - old.count;
    });
    return key;
  }

  async function forgeIds(change: (lines: string[]) => string[]): Promise<string> {
    const { key, sha256 } = await sealLines(books, part.ids.key, change(await books.lines(part.ids.key)));
    await forgeEntry((entry) => {
      entry.parts[0]!.ids = { key, sha256: sha256.ciphertext };
    });
    return key;
  }

  const edit = (line: string, change: (value: Record<string, unknown>) => void) => {
    const value = JSON.parse(line);
    change(value);
    return JSON.stringify(value);
  };

  test('forging nothing breaks nothing', async () => {
    await forgePart((lines) => lines);
    await forgeDeliveries((lines) => lines);
    await forgeIds((lines) => lines);
    assert.deepEqual((await verify(books)).breaks, []);
  });

  test('counts that do not add up, at every manifest that says them', async () => {
    await forgeEntry((entry) => {
      entry.counts.delivered += 1;
    });
    const report = await verify(books);
    assert.deepEqual(codes(report), [
      { code: 'counts_wrong', manifest: 1, key: 'manifests/00000001.jsonl' },
      { code: 'counts_wrong', manifest: 1, key: 'manifests/00000001.jsonl' },
    ]);
    assert.match(report.breaks[0]!.message, /delivered 13 and recovered 0 are not the 12 events/);
    assert.match(report.breaks[1]!.message, /duplicates 3 are not its 15 delivery lines less delivered 13/);
  });

  test('delivered lines that have no delivery', async () => {
    await forgeManifests(books, (manifest) => {
      for (const entry of [manifest.sources.platform!['2026-11-18']!]) {
        if (entry === undefined) continue;
        entry.counts.delivered -= 1;
        entry.counts.recovered += 1;
        entry.counts.duplicates += 1;
      }
    });
    const report = await verify(books);
    // And no list was asked that could have brought one.
    assert.deepEqual(
      codes(report).map(({ code }) => code),
      ['claims_wrong', 'counts_wrong'],
    );
    assert.match(report.breaks[1]!.message, /14 events have a delivery.*says 13/);
    assert.equal(report.breaks[1]!.key, laterPart.key);
  });

  test('lines out of order', async () => {
    const key = await forgePart((lines) => lines.toReversed());
    const report = await verify(books);
    assert.deepEqual(new Set(codes(report).map(({ code }) => code)), new Set(['content_wrong']));
    assert.match(report.breaks[0]!.message, /^line 2: is out of order \(and 10 more\)$/);
    assert.equal(report.breaks[0]!.key, key);
  });

  test('a line that is not canonical', async () => {
    const key = await forgePart(([line, ...others]) => [` ${line}`, ...others]);
    await theOnlyBreak({ code: 'content_wrong', manifest: 1, key }, /^line 1: is not a canonical JSON object$/);
  });

  test('a line of another day, and a first event that is another', async () => {
    const key = await forgePart(([line, ...others]) => [
      edit(line!, (event) => {
        event.created = (event.created as number) - 86_400;
      }),
      ...others,
    ]);
    const report = await verify(books);
    assert.deepEqual(codes(report), [
      { code: 'content_wrong', manifest: 1, key },
      { code: 'content_wrong', manifest: 1, key },
    ]);
    assert.match(report.breaks[0]!.message, /another day/);
    assert.match(report.breaks[1]!.message, /its events are from 2026-11-17.*, not 2026-11-18/);
  });

  test('lines that are not events of the source', async () => {
    const key = await forgePart(([line, ...others]) => [
      edit(line!, (event) => {
        delete event.created;
      }),
      ...others,
    ]);
    const report = await verify(books);
    assert.match(report.breaks[0]!.message, /^line 1: is not an event of this source$/);
    assert.equal(report.breaks[0]!.key, key);
  });

  test('lines whose ids are not those in ids.gz', async () => {
    const key = await forgePart((lines) => [
      ...lines.slice(0, -1),
      edit(lines.at(-1)!, (event) => {
        event.id = 'evt_other';
      }),
    ]);
    const report = await verify(books);
    assert.deepEqual(codes(report), [
      { code: 'ids_wrong', manifest: 1, key },
      { code: 'ids_wrong', manifest: 1, key },
    ]);
    assert.match(report.breaks[0]!.message, /has no line for evt_/);
    assert.match(report.breaks[1]!.message, /has a line for evt_other/);
  });

  test('a part with fewer lines than it says, found with the private key alone', async () => {
    const key = await forgePart((lines) => lines.slice(0, -1));
    assert.equal((await verify(books, { identities: undefined })).ok, true);
    const report = await verify(books);
    assert(report.breaks.every((found) => found.key === key));
    assert.match(report.breaks.map(({ message }) => message).join('\n'), /has 11 lines instead of 12/);
  });

  test('ids that are not sorted, or there twice, or too few', async () => {
    const original = first;
    for (const [change, message] of [
      [(ids: string[]) => ids.toReversed(), /line 2: is not sorted by code point \(and 10 more\)/],
      [([id, , ...others]: string[]) => [id!, id!, ...others], /line 2: has an id twice/],
      [(ids: string[]) => ids.slice(1), /has 11 ids for 12 events/],
    ] as const) {
      const key = await forgeIds(change);
      await theOnlyBreak({ code: 'ids_wrong', manifest: 1, key }, message, { identities: undefined });
      await forgeEntry((entry) => {
        entry.parts[0]!.ids = original.sources.platform!['2026-11-18']!.parts[0]!.ids;
      });
    }
  });

  test('an object with another name than its content has', async () => {
    const key = part.key.replace(/[0-9a-f]{16}/, '0123456789abcdef');
    const ids = part.ids.key.replace(/[0-9a-f]{16}/, '0123456789abcdef');
    copyOver(part.key, key);
    copyOver(part.ids.key, ids);
    await forgeEntry((entry) => {
      entry.parts[0]!.key = key;
      entry.parts[0]!.ids.key = ids;
    });
    const report = await verify(books, { identities: undefined });
    assert.deepEqual(codes(report), [
      { code: 'object_misnamed', manifest: 1, key: ids },
      { code: 'object_misnamed', manifest: 1, key },
    ]);
  });

  test('a key that leads out of the archive is refused and named', async () => {
    await forgeEntry((entry) => {
      entry.parts[0]!.key = '../../outside';
    });
    const report = await verify(books);
    assert.deepEqual(codes(report), [
      { code: 'claims_wrong', manifest: 1, key: 'manifests/00000001.jsonl' },
      { code: 'object_key_invalid', manifest: 1, key: '../../outside' },
    ]);
  });

  test('a plaintext that is another than the manifest names', async () => {
    await forgeManifests(books, ({ quarantine }) => {
      for (const object of quarantine)
        object.sha256.plaintext = object.sha256.plaintext.replace(/.$/, (c) => (c === '0' ? '1' : '0'));
    });
    const key = first.quarantine[0]!.key;
    await theOnlyBreak({ code: 'content_wrong', manifest: 1, key }, /another plaintext/);
  });

  test('deliveries out of order', async () => {
    const key = await forgeDeliveries((lines) => lines.toReversed());
    await theOnlyBreak({ code: 'content_wrong', manifest: 1, key }, /out of order/);
  });

  test('a delivery that is there twice', async () => {
    const key = await forgeDeliveries(([line, ...others]) => [line!, line!, ...others]);
    await theOnlyBreak({ code: 'content_wrong', manifest: 1, key }, /line 2: is there twice/);
  });

  test('a delivery of an event that is not there', async () => {
    const key = await forgeDeliveries((lines) => [
      ...lines,
      edit(lines.at(-1)!, (delivery) => {
        delivery.id = 'evt_zzz';
      }),
    ]);
    const report = await verify(books);
    assert.deepEqual(report.breaks[0], {
      code: 'content_wrong',
      manifest: 1,
      key,
      message: 'has deliveries of evt_zzz, which is not an event of the day',
    });
  });

  test('a delivery whose body was changed, or that carries the signature of another event', async () => {
    const key = await forgeDeliveries((lines) => [
      ...lines.slice(0, -2),
      edit(lines.at(-2)!, (delivery) => {
        delivery.body = `${delivery.body} `;
      }),
      edit(lines.at(-1)!, (delivery) => {
        const { signedheaders, body } = JSON.parse(lines[0]!);
        Object.assign(delivery, { signedheaders, body });
      }),
    ]);
    assert.equal((await verify(books)).ok, true);
    const report = await theOnlyBreak(
      { code: 'delivery_unproven', manifest: 1, key },
      /^line 14: a delivery's signature does not hold \(and 1 more\)$/,
      { secrets: secretsGiven },
    );
    assert.deepEqual(report.deliveries, { checked: 31, failed: 2, unknownSecret: 0 });
  });

  test('a part with another size of plaintext than it says', async () => {
    await forgeEntry((entry) => {
      entry.parts[0]!.bytes.plaintext += 1;
    });
    await theOnlyBreak({ code: 'content_wrong', manifest: 1, key: part.key }, /another plaintext/);
  });

  test('a panda delivery whose token does not fit its date', async () => {
    const { deliveries } = first.sources.billing!['2026-11-19']!.parts[0]!;
    const lines = (await books.lines(deliveries!.key)).map((line) => line.replace('12:00:03 GMT', '12:00:33 GMT'));
    const { key, sha256 } = await sealLines(books, deliveries!.key, lines);
    await forgeManifests(books, (manifest) => {
      const entry = manifest.sources.billing!['2026-11-19'];
      if (entry !== undefined) entry.parts[0]!.deliveries = { key, sha256, count: 5 };
    });
    const message = /^line 3: a delivery's signature does not hold$/;
    await theOnlyBreak({ code: 'delivery_unproven', manifest: 1, key }, message, { secrets: secretsGiven });
  });

  test('an id of another source in two days of one run, where a later run might have written the older day', async () => {
    // The look-up around the 10th ends with the 11th; one run gathers copies from the oldest day on.
    const repeatIn = (number: number) =>
      forgeManifests(books, (manifest) => {
        const billing = manifest.sources.billing as Record<string, Entry>;
        delete billing['2026-11-10'];
        if (manifest.number !== number) return;
        billing['2026-11-10'] = structuredClone(first.sources.billing!['2026-11-19']!) as Entry;
      });
    await repeatIn(2);
    // The objects have the names of another day, which is a break of its own.
    const found = async () =>
      (await verify(books, { identities: undefined })).breaks.filter(({ code }) => code !== 'claims_wrong');
    assert.deepEqual(await found(), []);
    await repeatIn(1);
    const { key } = first.sources.billing!['2026-11-19']!.parts[0]!.ids;
    const [twice, ...others] = await found();
    assert.deepEqual([twice?.code, twice?.manifest, twice?.key, others.length], ['id_twice', 1, key, 0]);
    assert.match(twice!.message, /has event-1 \(and 4 more ids\), which is archived already/);
  });

  test('an event that is archived in two parts', async () => {
    await forgeManifests(books, (manifest) => {
      if (manifest.number !== 3) return;
      manifest.sources.platform!['2026-11-18'] = structuredClone(second.sources.platform!['2026-11-18']!) as Entry;
      const { counts } = manifest.sources.platform!['2026-11-18']!;
      counts.delivered += 2;
      counts.duplicates += 1;
    });
    const message = /has evt_\w+ \(and 1 more ids\), which is archived already in platform/;
    await theOnlyBreak({ code: 'id_twice', manifest: 3, key: laterPart.ids.key }, message, { identities: undefined });
  });
});

test('a private key that opens nothing is the wrong key, and the archive is not called broken', async () => {
  const identities = parseIdentities(await generateIdentity());
  await assert.rejects(verify(books, { identities }), { code: 'sealed_unreadable', message: /opens no object/ });
});

test('an id of another source may come back after the window in which it is looked up', async (t) => {
  const own = await openArchive();
  t.after(() => own.close());
  const sources = [{ name: 'billing' }, { name: 'platform' }];
  const windowed = async (day: string) => {
    own.at(`${addDays(day, 2)}T00:00:00Z`);
    await own.deliver(pandaRecord(1, day, 'evt_00000000000001'), pandaRecord(2, day, 'evt_ours'));
    await own.night(sources);
  };
  await windowed('2026-11-23');
  await windowed('2026-12-26');
  const report = await verify(own);
  assert.equal(report.days.filter(({ source, events }) => source === 'billing' && events === 2).length, 2);
  assert.deepEqual(report.breaks, []);
  // Without the private key an id that looks like Stripe's is taken for one, and those never come back.
  const { breaks } = await verify(own, { identities: undefined });
  assert.deepEqual(
    breaks.map(({ code }) => code),
    ['id_twice'],
  );
  assert.match(breaks[0]!.message, /^has evt_00000000000001, which is archived already/);
});

test('an event delivered again and signed with a secret that nobody has is told as failed where the keyid is known', async (t) => {
  const own = await openArchive();
  t.after(() => own.close());
  const [event] = eventsOf('2026-11-20', 1, 'forged');
  const forged = signedRecord(event!, 0, 'whsec_guessed');
  const value = Buffer.from(
    forged.value.toString().replace(/"keyid":"\w+"/, `"keyid":"${secretsGiven.get('platform')!.secrets[0]!.keyid}"`),
  );
  await own.deliver({ key: forged.key, value });
  own.at('2026-11-24T03:00:00Z');
  await own.night([{ name: 'platform' }]);
  const report = await verify(own, { secrets: secretsGiven });
  assert.deepEqual(
    report.breaks.map(({ code }) => code),
    ['delivery_unproven'],
  );
  assert.equal(report.deliveries.failed, 1);
});
