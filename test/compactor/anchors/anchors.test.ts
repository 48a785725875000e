/** Many nights seen by a time stamp authority and by a real witness: what they prove, with stock tools, when both are gone. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createPublicKey, verify as verifySignature } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Anchoring, anchorLedger, type Witnesses } from '../../../compactor/anchors/anchor-ledger.ts';
import { signCheckpoint } from '../../../compactor/anchors/checkpoint.ts';
import { standingOf } from '../../../compactor/anchors/standing.ts';
import { leafHash, rootOf } from '../../../compactor/anchors/tree.ts';
import { checkWitnesses } from '../../../compactor/doctor/check-witnesses.ts';
import { openCompactorMetrics } from '../../../compactor/serve/metrics.ts';
import { addDays, startOfDayMs, systemClock } from '../../../shared/clock.ts';
import { encodeNoteKey, noteAlgorithms, parseWitnessKey } from '../../../shared/crypto/note-key.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { startService } from '../../services/service.ts';
import { eventsOf, signedRecord, verify } from '../archive-under-test.ts';
import { type Books, openBooks } from '../books.ts';
import { type Authority, startAuthority } from './authority.ts';

const origin = 'daybook.test/archive';
const nights = 24;
/** Nights after which nobody could be asked. */
const away = new Set([13, 14]);

const books = await openBooks();
const signer = readSigner(books.signingKey);
const logKey = encodeNoteKey(origin, noteAlgorithms.ed25519, signer.publicKey).text;
const service = await startService<{ url: string; publicKey: string }>('witness.sh', [origin, logKey]);
after(async () => {
  await service?.stop();
  await books.close();
});

const digits = (number: number) => String(number).padStart(8, '0');
const anchor = (name: string) => join(books.archive, 'anchors', name);

if (service !== undefined) {
  const { url, publicKey } = service.facts;
  const witnessKey = encodeNoteKey('witness.test', noteAlgorithms.cosignature, sshKeyOf(publicKey));
  let authority: Authority;
  let witnesses: Witnesses;
  let kept: string;

  const anchoring = (of: Books, change: Partial<Anchoring> = {}): Anchoring => ({
    ...{ store: of.store, prefix: '', signer: readSigner(of.signingKey), witnesses, loadLedger: () => of.ledger() },
    ...change,
  });
  /** Both, with the code that each is told with. */
  const asked = (code: string | null) =>
    [new URL(authority.url).host, 'witness.test'].map((witness) => ({ witness, code }));
  const anchorNow = async (change: Partial<Anchoring> = {}) =>
    anchorLedger(anchoring(books, change), await books.ledger());
  const night = async (number: number) => {
    const day = addDays('2026-01-01', number);
    books.at(new Date(startOfDayMs(addDays(day, 1)) + 3 * 3_600_000).toISOString());
    await books.deliver(...eventsOf(day, 2, day).map((event) => signedRecord(event)));
    await books.night([{ name: 'platform' }]);
  };

  before(async () => {
    authority = await startAuthority();
    witnesses = {
      timestamps: { url: authority.url, roots: authority.roots },
      log: { origin, witnesses: [{ url, key: parseWitnessKey(witnessKey.text)! }] },
    };
    for (let number = 1; number <= nights; number += 1) {
      await night(number);
      if (!away.has(number)) {
        assert.deepEqual(await anchorNow(), { errors: [], warnings: [], witnesses: asked(null) });
        continue;
      }
      authority.fault = 'away';
      const { key } = witnesses.log!.witnesses[0]!;
      const log = { origin, witnesses: [{ url: 'http://127.0.0.1:1', key }] };
      const { errors, warnings, witnesses: told } = await anchorNow({ witnesses: { ...witnesses, log } });
      authority.fault = undefined;
      assert.deepEqual(told, asked('anchor_pending'));
      assert.deepEqual([errors, warnings.map(({ code }) => code)], [[], ['anchor_pending', 'anchor_pending']]);
      assert.match(warnings[0]!.message, /^manifest 1[34], 127\.0\.0\.1:\d+: /);
    }
    fs.writeFileSync(join(books.directory, 'roots.pem'), authority.roots);
    kept = join(books.directory, 'kept');
    fs.cpSync(books.archive, kept, { recursive: true });
  });
  afterEach(() => {
    fs.rmSync(books.archive, { recursive: true });
    fs.cpSync(kept, books.archive, { recursive: true });
  });
  after(() => authority.close());

  describe('many nights', () => {
    test('verify names the newest that was witnessed; who believes nobody is told so', async () => {
      const report = await verify(books, { witnesses });
      assert.deepEqual(report.breaks, []);
      assert.equal(report.witnessed?.number, nights);
      assert.match(
        report.information.find(({ code }) => code === 'witnessed')!.message,
        /^manifest 24 .* 44 anchors hold$/,
      );
      const stranger = await verify(books);
      assert.deepEqual([stranger.ok, stranger.witnessed], [true, null]);
      assert.match(stranger.information.find(({ code }) => code === 'witness_unknown')!.message, /^44 anchors/);
      assert.equal(
        report.information.some(({ code }) => code === 'orphan' || code === 'other_file'),
        false,
      );
    });

    test('the same is seen with openssl alone', () => {
      for (const number of [1, 12, 15, nights]) {
        const stamp = [
          '-in',
          anchor(`${digits(number)}.tsr`),
          '-data',
          join(books.archive, `manifests/${digits(number)}.jsonl`),
        ];
        const args = ['ts', '-verify', ...stamp, '-CAfile', join(books.directory, 'roots.pem')];
        assert.match(execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }), /OK/);
      }
      const note = fs.readFileSync(anchor(`${digits(nights)}-${witnessKey.id}.checkpoint`), 'utf8');
      const text = note.slice(0, note.indexOf('\n\n') + 1);
      const [own, witness] = note.match(/(?<= )[A-Za-z0-9+/]{60,}=*/g)!.map((line) => Buffer.from(line, 'base64'));
      assert.equal(verifySignature(null, Buffer.from(text), createPublicKey(books.signingKey), own!.subarray(4)), true);
      assert.equal(witness!.length, 4 + 8 + 64);
    });

    /** What the audit script says of the archive as it is now; verify agrees. */
    const audit = () => {
      const [keys, roots] = ['keys.pem', 'roots.pem'].map((name) => join(books.directory, name)) as [string, string];
      fs.writeFileSync(keys, createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }));
      const script = fileURLToPath(new URL('../../../deploy/audit.sh', import.meta.url));
      return spawnSync('sh', [script, books.archive, keys], {
        env: { ...process.env, ROOTS: roots },
        encoding: 'utf8',
      });
    };

    test('the audit script holds them too, and names one that does not', () => {
      fs.copyFileSync(anchor(`${digits(5)}.tsr`), anchor(`${digits(4)}.tsr`));
      const { status, stdout, stderr } = audit();
      assert.deepEqual([status, stderr], [3, '']);
      assert.match(stdout, /^BROKEN anchors\/00000004.tsr does not hold\n24 manifests, \d+ objects, .*\n$/);
    });

    for (const cut of [1, 7, 10, 16, 23]) {
      test(`cut off after manifest ${cut}, also with its objects: the anchors behind it tell`, async () => {
        for (let number = cut + 1; number <= nights; number += 1) {
          fs.rmSync(join(books.archive, `manifests/${digits(number)}.jsonl`));
          fs.rmSync(join(books.archive, `platform/${addDays('2026-01-01', number).replaceAll('-', '/')}`), {
            recursive: true,
          });
        }
        for (const change of [{ witnesses }, {}]) {
          const { breaks } = await verify(books, change);
          assert.deepEqual(
            breaks.map(({ code, manifest }) => [code, manifest]),
            [['head_unexpected', nights]],
          );
        }
        const { errors } = await anchorNow({ witnesses: { timestamps: witnesses.timestamps } });
        assert.deepEqual(
          errors.map(({ code }) => code),
          ['anchor_contradicted'],
        );
        assert.match(errors[0]!.message, new RegExp(`has seen manifest 24, and there are ${cut}: the newest`));
        if (cut !== 7) return;
        const { status, stdout } = audit();
        assert.equal(status, 3);
        assert.match(stdout, /BROKEN manifests\/00000024.jsonl is not there, and was witnessed: anchors\/00000024.tsr/);
      });
    }

    test('cut off, its anchors left: no night goes on with it', async (t) => {
      fs.rmSync(join(books.archive, `manifests/${digits(nights)}.jsonl`));
      // A copy at another place: the stream's positions are not of it.
      const copy = await openBooks();
      t.after(() => copy.close());
      fs.cpSync(books.archive, copy.archive, { recursive: true });
      copy.at('2026-02-01T03:00:00Z');
      const refused = {
        code: 'ledger_behind',
        message: /^manifests\/00000024\.jsonl is not there, and was witnessed: anchors\/00000024/,
      };
      await assert.rejects(
        copy.night([{ name: 'platform' }], {
          signer,
          verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
        }),
        refused,
      );
      assert.equal(fs.readdirSync(join(copy.archive, 'manifests')).length, nights - 1);
    });

    test('replaced: a time stamp that is kept under its number, of other bytes, contradicts it', async () => {
      fs.copyFileSync(anchor(`${digits(nights - 1)}.tsr`), anchor(`${digits(nights)}.tsr`));
      const { errors, witnesses: told } = await anchorNow({ witnesses: { timestamps: witnesses.timestamps } });
      assert.deepEqual(
        told.map(({ code }) => code),
        ['anchor_contradicted'],
      );
      assert.match(errors[0]!.message, /the witness has seen another manifest 24$/);
    });

    test('cut off with the anchors: the next night is contradicted by the witness, which remembers', async () => {
      for (let number = 17; number <= nights; number += 1) {
        fs.rmSync(join(books.archive, `manifests/${digits(number)}.jsonl`));
        for (const name of [
          `${digits(number)}.tsr`,
          `${digits(number)}-${witnessKey.id}.checkpoint`,
          `tile/0/000.p/${number}`,
        ]) {
          fs.rmSync(anchor(name), { force: true });
        }
      }
      assert.equal((await verify(books, { witnesses })).witnessed?.number, 16);
      const shorter = await anchorNow();
      assert.deepEqual(
        shorter.errors.map(({ code }) => code),
        ['anchor_contradicted'],
      );
      assert.match(shorter.errors[0]!.message, /has seen 24 manifests, and there are 16/);
      // Longer than what was cut off, and another.
      const changed = await openBooks();
      const ledger = {
        ...(await changed.ledger()),
        head: { number: 25, sha256: '', createdAt: '' },
        hashes: Array(25).fill('00'),
      };
      const { errors } = await anchorLedger(
        anchoring(books, { witnesses: { log: witnesses.log }, store: changed.store }),
        ledger,
      );
      await changed.close();
      assert.deepEqual(
        errors.map(({ code }) => code),
        ['anchor_contradicted'],
      );
      assert.match(errors[0]!.message, /24 manifests with which these do not begin/);
    });

    test('how far each witness is, by its anchors: metrics, and doctor, which asks it', async () => {
      const host = new URL(authority.url).host;
      for (const number of [22, 23, 24]) fs.rmSync(anchor(`${digits(number)}.tsr`));
      const since = JSON.parse(
        fs.readFileSync(join(books.archive, `manifests/${digits(22)}.jsonl`), 'utf8').split('\n')[0]!,
      ).createdAt;
      const ledger = await books.ledger();
      const opened = { store: books.store, prefix: '' };
      const standings = await standingOf({ ...opened, witnesses }, ledger);
      assert.deepEqual(standings, [
        { witness: host, seen: 21, behind: 3, since },
        { witness: 'witness.test', seen: 24, behind: 0, since: undefined },
      ]);
      const named = { sources: [], witnesses: [host, 'witness.test'] };
      const metrics = openCompactorMetrics({ ...named, running: () => undefined, clock: systemClock });
      const times = { startedAt: since, endedAt: since, outcome: 'done', exitCode: 0 } as const;
      const report = { errors: [], witnesses: [{ witness: host, code: 'anchor_pending' }, ...asked(null).slice(1)] };
      metrics.ended({ job: 'run', by: 'schedule', arguments: [], ...times, report });
      metrics.witnessed(standings);
      const text = await metrics.scrape();
      metrics.close();
      const told = [...text.matchAll(/^daybook_compactor_witness_(\w+)\{witness="(.*?)"\} (\S+)$/gm)];
      assert.deepEqual(
        told.map(([, name, witness, value]) => `${name} ${witness === host ? 'authority' : witness} ${value}`).sort(),
        [
          `behind_since_timestamp_seconds authority ${Date.parse(since) / 1000}`,
          'behind_since_timestamp_seconds witness.test Nan',
          'failures_total authority 1',
          'failures_total witness.test 0',
          'manifests_behind authority 3',
          'manifests_behind witness.test 0',
        ],
      );

      const said = async () =>
        (await checkWitnesses(witnesses, ledger, opened)).map(({ status, message }) => `${status} ${message}`);
      const far = [
        `warning ${host} has seen nothing after manifest 21: it is 3 manifests behind, since ${since}`,
        'ok witness.test has seen manifest 24, the newest',
      ];
      assert.deepEqual(await said(), [
        `ok ${host} gives time stamps that the roots hold`,
        'ok witness.test answers as a witness',
        ...far,
      ]);
      authority.fault = 'away';
      const away = await said();
      authority.fault = undefined;
      assert.match(away[0]!, /^warning 127\.0\.0\.1:\d+ sees nothing at present: /);
      assert.deepEqual(away.slice(1), ['ok witness.test answers as a witness', ...far]);
    });

    test('anchors that were changed, or are of other bytes, are told one by one', async () => {
      const flip = (name: string, at: number) => {
        const bytes = fs.readFileSync(anchor(name));
        bytes[at < 0 ? bytes.length + at : at]! ^= 1;
        fs.writeFileSync(anchor(name), bytes);
      };
      flip(`${digits(3)}.tsr`, -5);
      fs.copyFileSync(anchor(`${digits(5)}.tsr`), anchor(`${digits(4)}.tsr`));
      fs.writeFileSync(anchor(`${digits(6)}.tsr`), 'x');
      const checkpoint = (number: number) => `${digits(number)}-${witnessKey.id}.checkpoint`;
      fs.copyFileSync(anchor(checkpoint(8)), anchor(checkpoint(7)));
      fs.writeFileSync(
        anchor(checkpoint(9)),
        fs.readFileSync(anchor(checkpoint(9)), 'utf8').replace(/— witness.*\n/, ''),
      );
      flip('tile/0/000.p/11', 40);
      // The signer lies about the tree.
      fs.writeFileSync(anchor(checkpoint(12)), await signCheckpoint(origin, 12, rootOf([leafHash('00')]), signer));
      const { breaks } = await verify(books, { witnesses });
      assert.deepEqual(
        breaks.map(({ code, manifest, message }) => `${code} ${manifest}: ${message.split(': ')[0]}`),
        [
          'anchor_wrong 3: does not hold',
          'anchor_wrong 4: is of other bytes than the manifest has',
          'anchor_wrong 6: does not hold',
          'anchor_wrong 7: is of 8 manifests',
          'anchor_wrong 9: the signature of witness.test does not hold',
          'anchor_wrong 11: is not the tile of the manifests here',
          'anchor_wrong 12: has another root than the manifests here',
        ],
      );
    });
  });

  test('an answer that would not hold is not kept: refused, of other bytes, of another authority', async () => {
    fs.rmSync(anchor(`${digits(nights)}.tsr`));
    for (const [fault, said] of [
      ['refuses', /refusal|HTTP 500/],
      ['other bytes', /other bytes/],
    ] as const) {
      authority.fault = fault;
      const { errors, warnings } = await anchorNow();
      authority.fault = undefined;
      assert.deepEqual(errors, []);
      assert.match(warnings[0]!.message, said);
    }
    const other = await startAuthority();
    const { warnings } = await anchorNow({ witnesses: { timestamps: { url: authority.url, roots: other.roots } } });
    await other.close();
    assert.match(warnings[0]!.message, /does not hold/);
    assert.equal(fs.existsSync(anchor(`${digits(nights)}.tsr`)), false);
    assert.deepEqual((await anchorNow()).warnings, []);
    assert.equal(fs.existsSync(anchor(`${digits(nights)}.tsr`)), true);
  });
}

/** The 32 bytes of an Ed25519 key, which end the SSH form. */
function sshKeyOf(base64: string): Buffer {
  return Buffer.from(base64, 'base64').subarray(-32);
}
