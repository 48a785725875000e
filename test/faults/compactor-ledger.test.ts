/** Ledgers that are not the one that was written: nothing is written after them. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { readSigner } from '../../shared/crypto/signing.ts';
import { DaybookError, type ErrorCode } from '../../shared/errors.ts';
import { exitCodeOf } from '../../shared/program/program.ts';
import type { NightChange } from '../compactor/books.ts';
import { assertBooks, assertUnchanged, copiesOf, eventsOfDay, objectsOf } from './night-books.ts';
import { oldDay, openScenario, type Scenario, sources } from './night-scenario.ts';

let scenario: Scenario;
beforeEach(async () => {
  scenario = await openScenario();
});
afterEach(() => scenario.books.close());

const pathOf = (number: number) => join(scenario.books.archive, `manifests/${String(number).padStart(8, '0')}.jsonl`);

/** A night that must refuse to write, with this code and exit 3. */
async function assertRefused(code: ErrorCode, change: NightChange = {}): Promise<void> {
  const before = await objectsOf(scenario.books);
  await assert.rejects(scenario.books.night(sources, change), (error: unknown) => {
    assert.ok(error instanceof DaybookError);
    assert.equal(error.code, code);
    assert.equal(exitCodeOf(error), 3);
    return true;
  });
  assert.deepEqual(await objectsOf(scenario.books), before, 'nothing was written');
}

async function assertRepaired(): Promise<void> {
  const before = await objectsOf(scenario.books);
  assert.deepEqual((await scenario.books.night(sources)).errors, []);
  await assertUnchanged(scenario.books, before);
  await assertBooks(scenario.books, scenario.expected);
}

describe('a ledger that is not the one that was written', () => {
  /** Three manifests, with something new for a fourth. */
  beforeEach(async () => {
    const { books, expected } = scenario;
    await books.night(sources);
    const more = [1, 2].map((seed) => eventsOfDay(oldDay, 2, `more ${seed}`));
    const ids = [...expected.platform!.ids];
    for (const events of more) {
      if (events === more[1]) await books.night(sources);
      await books.deliver(...events.flatMap((event) => copiesOf(event, 1)));
      ids.push(...events.map(({ id }) => id));
    }
    assert.equal((await books.ledger()).head?.number, 3);
    const deliveries = expected.platform!.deliveries! + 4;
    scenario = { ...scenario, expected: { ...expected, platform: { ids, deliveries } } };
  });

  test('that has lost its newest manifests is behind the committed positions: nothing is written', async () => {
    const kept = await Promise.all([2, 3].map((number) => readFile(pathOf(number))));
    await rm(pathOf(3));
    await assertRefused('ledger_behind');
    await rm(pathOf(2));
    await assertRefused('ledger_behind');
    for (const [index, bytes] of kept.entries()) await writeFile(pathOf(index + 2), bytes);
    await assertRepaired();
  });

  test('that is another, empty archive is behind the committed positions', async () => {
    await assertRefused('ledger_behind', { prefix: 'elsewhere/' });
    await assertRepaired();
  });

  test('that has a gap or a double among its manifests is broken, and other names beside them are not of it', async () => {
    const second = await readFile(pathOf(2));
    await rm(pathOf(2));
    await assertRefused('ledger_broken');
    await copyFile(pathOf(1), pathOf(2));
    await assertRefused('ledger_broken');
    await writeFile(pathOf(2), second);
    const beside = (name: string) => join(scenario.books.archive, 'manifests', name);
    await writeFile(beside('00000005.jsonl'), second);
    await assertRefused('ledger_broken');
    await rm(beside('00000005.jsonl'));
    for (const name of ['00000002-2.jsonl', '0.jsonl', 'notes.txt']) await writeFile(beside(name), second);
    await assertRepaired();
  });

  test('any changed, added or missing byte of any manifest is found', async () => {
    const originals = await Promise.all([1, 2, 3].map((number) => readFile(pathOf(number))));
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.constantFrom('changed', 'added', 'missing', 'cut'),
        async (number, place, mask, way) => {
          const original = originals[number - 1]!;
          const at = place % original.length;
          const bytes = Buffer.from(original);
          if (way === 'changed') bytes[at]! ^= mask;
          const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
          const damaged =
            way === 'added'
              ? Buffer.concat([head, Buffer.of(mask), tail])
              : way === 'missing'
                ? Buffer.concat([head, tail.subarray(1)])
                : way === 'cut'
                  ? head
                  : bytes;
          await writeFile(pathOf(number), damaged);
          await assert.rejects(scenario.books.ledger(), (error: unknown) => {
            assert.ok(error instanceof DaybookError);
            return error.code === 'ledger_broken' || error.code === 'signer_unknown';
          });
          await writeFile(pathOf(number), original);
        },
      ),
      { numRuns: 300 },
    );
    await assertRepaired();
  });

  test('that is broken while other manifests cannot be read is refused, and no failure goes unheard', async () => {
    await rm(pathOf(2));
    const unheard: unknown[] = [];
    const listen = (reason: unknown) => unheard.push(reason);
    process.on('unhandledRejection', listen);
    try {
      await assertRefused('ledger_broken', {
        store: (store) => ({
          ...store,
          async *read(key) {
            if (key.startsWith('manifests/')) throw new DaybookError('store_unavailable', { detail: 'injected' });
            yield* store.read(key);
          },
        }),
      });
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(unheard, []);
    } finally {
      process.off('unhandledRejection', listen);
    }
  });

  test('that a key signed which is not known here is not gone on with', async () => {
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const signer = readSigner(pem);
    await assertRefused('signer_unknown', {
      signer,
      verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
    });
    await assertRepaired();
  });
});
