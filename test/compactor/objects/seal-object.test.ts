import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, mock, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import fc from 'fast-check';
import { openSealed, type SealedObject } from '../../../compactor/objects/seal-object.ts';
import { linesOf, openPlaintext, unpack } from '../../../shared/crypto/open-sealed.ts';
import { parseRecipients, type Recipients } from '../../../shared/crypto/recipients.ts';
import { requireCommand } from '../../require-service.ts';

let folder: string;
let identity: string;
let recipients: Recipients;
let number = 0;

before(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daybook-seal-'));
  identity = await generateX25519Identity();
  recipients = parseRecipients(await identityToRecipient(identity)).recipients;
});
after(() => fs.rmSync(folder, { recursive: true }));

const newPath = () => path.join(folder, String(number++));
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function seal(lines: Iterable<Buffer | string>, to: Recipients | 'plain' = recipients): Promise<SealedObject> {
  const sealing = openSealed({ path: newPath(), recipients: to });
  for (const line of lines) await sealing.write(line);
  return sealing.finish();
}

async function readLines(sealed: SealedObject): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of linesOf(openPlaintext(fs.createReadStream(sealed.path), [identity]))) lines.push(line);
  return lines;
}

/** Lines that do not compress well: numbers of a small generator, so that every run has the same. */
function* noise(count: number, bytes: number): Generator<string> {
  for (let at = 0; at < count; at++) {
    yield createHash('shake256', { outputLength: Math.ceil(bytes / 2) })
      .update(String(at))
      .digest('hex')
      .slice(0, bytes);
  }
}

test('stock age and gunzip give the lines back, and the hashes are those of the bytes', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'gunzip')) return;
  const lines = ['{"a":1}', Buffer.from('{"b":"é"}'), '', '{"c":"😀\\ud800"}', ...noise(3000, 200)];
  const sealed = await seal(lines);
  const key = path.join(folder, 'key.txt');
  fs.writeFileSync(key, `# created for a test\n${identity}\n`);
  const decrypted = spawnSync('age', ['-d', '-i', key, sealed.path], { maxBuffer: 2 ** 26 });
  assert.equal(decrypted.stderr.toString(), '');
  const plain = spawnSync('gunzip', ['-c'], { input: decrypted.stdout, maxBuffer: 2 ** 26 }).stdout;
  assert.equal(plain.toString(), lines.map((line) => `${line}\n`).join(''));
  assert.deepEqual(sealed, {
    path: sealed.path,
    lines: lines.length,
    bytes: { plaintext: plain.length, ciphertext: fs.statSync(sealed.path).size },
    sha256: { plaintext: sha256(plain), ciphertext: sha256(fs.readFileSync(sealed.path)) },
  });
  assert.equal(fs.statSync(sealed.path).mode & 0o777, 0o600);
});

test('whatever lines are written come back as they were, for every size around a chunk', async () => {
  const size = fc.oneof(
    fc.nat(40),
    fc.integer({ min: 131_050, max: 131_100 }),
    fc.constant(65_536),
    fc.constant(400_000),
  );
  const line = fc.tuple(size, fc.constantFrom('a', 'é'), fc.boolean());
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 12 }), async (shapes) => {
      const lines = shapes.map(([length, letter, asBytes]) => {
        const text = letter.repeat(length / Buffer.byteLength(letter));
        return asBytes ? Buffer.from(text) : text;
      });
      const sealed = await seal(lines);
      assert.deepEqual(await readLines(sealed), lines.map(String));
      assert.equal(sealed.lines, lines.length);
      fs.rmSync(sealed.path);
    }),
    { numRuns: 60 },
  );
});

test('the same lines give the same plaintext hash and the same gzip bytes; age bytes differ', async () => {
  const lines = [...noise(5000, 150)];
  const [first, again] = [
    await seal(lines, 'plain'),
    await seal(
      lines.map((line) => Buffer.from(line)),
      'plain',
    ),
  ];
  assert.deepEqual(fs.readFileSync(first.path), fs.readFileSync(again.path));
  const bytes = fs.readFileSync(first.path);
  assert.deepEqual([...bytes.subarray(0, 8)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]); // no name, no time
  assert.equal(gunzipSync(bytes).toString(), lines.map((line) => `${line}\n`).join(''));
  const [one, two] = [await seal(lines), await seal(lines)];
  assert.equal(one.sha256.plaintext, two.sha256.plaintext);
  assert.equal(one.sha256.plaintext, first.sha256.plaintext);
  assert.notEqual(one.sha256.ciphertext, two.sha256.ciphertext);
});

test('an object without lines is whole too', async () => {
  const sealed = await seal([]);
  assert.deepEqual(await readLines(sealed), []);
  assert.equal(sealed.sha256.plaintext, sha256(Buffer.alloc(0)));
  assert.deepEqual([sealed.lines, sealed.bytes.plaintext], [0, 0]);
});

test('a line that holds a line feed is refused, since it would be two', () => {
  const sealing = openSealed({ path: newPath(), recipients });
  assert.throws(() => sealing.write('a\n'), RangeError);
  assert.throws(() => sealing.write(Buffer.from('a\nb')), RangeError);
});

test('an object for nobody is refused', async () => {
  await assert.rejects(seal(['a'], []), { code: 'staging_failed' });
});

test('a recipient that fails ends the object, also while a writer waits', async () => {
  const wrapFileKey = () => Promise.reject(new Error('cannot wrap'));
  await assert.rejects(seal(noise(20_000, 500), [{ wrapFileKey }]), { code: 'staging_failed' });
});

test('memory stays bounded while much is written', async () => {
  const line = Buffer.from([...noise(1, 2000)][0]!);
  const sealing = openSealed({ path: newPath(), recipients });
  for (let at = 0; at < 20_000; at++) await sealing.write(line);
  const before = process.memoryUsage().rss;
  for (let at = 0; at < 80_000; at++) await sealing.write(line);
  const grown = process.memoryUsage().rss - before;
  const sealed = await sealing.finish();
  assert.equal(sealed.bytes.plaintext, 100_000 * 2001);
  assert.ok(grown < 60e6, `grew by ${grown} bytes over 160 MB`);
});

test('sixty open objects that hold little cost little, and no file', async () => {
  const paths = Array.from({ length: 60 }, newPath);
  const external = process.memoryUsage().arrayBuffers;
  const open = paths.map((name) => openSealed({ path: name, recipients }));
  for (const sealing of open) await sealing.write('a');
  assert.ok(process.memoryUsage().arrayBuffers - external < 60 * 200_000);
  assert.ok(paths.every((name) => !fs.existsSync(name)));
  for (const sealing of open) await sealing.abort();
});

test('abort leaves no file, whenever it comes', async () => {
  const untouched = openSealed({ path: newPath(), recipients });
  await untouched.abort();

  const midway = newPath();
  const sealing = openSealed({ path: midway, recipients });
  for (const line of noise(2000, 500)) await sealing.write(line);
  await sealing.abort();
  await sealing.abort();
  assert.ok(!fs.existsSync(midway));
  assert.throws(() => sealing.write('late'), { code: 'staging_failed' });

  const whole = newPath();
  const finished = openSealed({ path: whole, recipients });
  await finished.write('a');
  await finished.finish();
  await finished.abort();
  assert.ok(!fs.existsSync(whole));
});

test('abort does not wait for a write that nobody awaited', async () => {
  const name = newPath();
  const sealing = openSealed({ path: name, recipients });
  for (const line of noise(3000, 500)) void sealing.write(line);
  await sealing.abort();
  assert.ok(!fs.existsSync(name));
});

test('a file that cannot be created is said by write or finish, and one that was there stays', async () => {
  const nowhere = openSealed({ path: path.join(folder, 'no', 'such'), recipients });
  await nowhere.write('a');
  await assert.rejects(nowhere.finish(), { code: 'staging_failed', retry: true });
  await nowhere.abort();

  const taken = newPath();
  fs.writeFileSync(taken, 'of another');
  const sealing = openSealed({ path: taken, recipients: 'plain' });
  await assert.rejects(
    async () => {
      for (const line of noise(20_000, 500)) await sealing.write(line);
    },
    { code: 'staging_failed' },
  );
  await assert.rejects(sealing.finish(), { code: 'staging_failed' });
  await sealing.abort();
  assert.equal(fs.readFileSync(taken, 'utf8'), 'of another');
});

for (const target of ['age', 'plain'] as const) {
  for (const fault of ['before', 'after'] as const) {
    test(`a disk that fails at the fourth write, ${fault} the bytes are there, ends the object with an error (${target})`, async () => {
      const fail = (_fd: number, ...rest: unknown[]) => {
        const done = rest.at(-1) as (error: Error) => void;
        process.nextTick(done, Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
      };
      const real = fs.write;
      let writes = 0;
      const writing = mock.method(fs, 'write', (fd: number, ...rest: unknown[]) => {
        if (++writes < 4) real(fd, rest[0] as Buffer, ...(rest.slice(1) as [number, number, null, () => void]));
        else if (fault === 'after') real(fd, rest[0] as Buffer, () => fail(fd, ...rest));
        else fail(fd, ...rest);
      });
      const gathering = mock.method(fs, 'writev', fail);
      const name = newPath();
      const sealing = openSealed({ path: name, recipients: target === 'plain' ? 'plain' : recipients });
      try {
        await assert.rejects(
          async () => {
            for (const line of noise(20_000, 500)) await sealing.write(line);
            await sealing.finish();
          },
          { code: 'staging_failed', retry: true },
        );
        await assert.rejects(sealing.finish(), { code: 'staging_failed' });
      } finally {
        writing.mock.restore();
        gathering.mock.restore();
      }
      await sealing.abort();
      assert.ok(!fs.existsSync(name));
    });
  }
}

for (const target of ['age', 'plain'] as const) {
  test(`a disk that hangs, then fails, releases a writer that waits (${target})`, async () => {
    let lines = 0;
    const fail = (_fd: number, ...rest: unknown[]) => {
      const done = rest.at(-1) as (error: Error) => void;
      // Fails once the writer has been standing still for a while: the whole pipeline is full then.
      let [seen, turns] = [lines, 0];
      const wait = () => {
        if (seen !== lines) [seen, turns] = [lines, 0];
        else if (++turns > 3000) return done(new Error('the disk is gone'));
        setImmediate(wait);
      };
      wait();
    };
    const writing = mock.method(fs, 'write', fail);
    const gathering = mock.method(fs, 'writev', fail);
    const sealing = openSealed({ path: newPath(), recipients: target === 'plain' ? 'plain' : recipients });
    try {
      await assert.rejects(
        async () => {
          for (const line of noise(20_000, 500)) {
            await sealing.write(line);
            lines++;
          }
        },
        { code: 'staging_failed' },
      );
      assert.ok(lines < 10_000, `${lines} lines were taken while nothing was written`);
    } finally {
      writing.mock.restore();
      gathering.mock.restore();
    }
    await sealing.abort();
  });
}

test('lines that end where a chunk ends stay whole', async () => {
  const chunkBytes = 128 * 1024;
  for (let over = -4; over <= 4; over++) {
    const lines = ['x'.repeat(100), 'y'.repeat(chunkBytes - 101 + over), 'z', 'é'.repeat(chunkBytes / 2), ''];
    assert.deepEqual(await readLines(await seal(lines)), lines);
  }
});

test('ids are readable without any key', async () => {
  const sealed = await seal(['evt_1', 'evt_2'], 'plain');
  const lines: string[] = [];
  for await (const line of linesOf(unpack(fs.createReadStream(sealed.path)))) lines.push(line);
  assert.deepEqual(lines, ['evt_1', 'evt_2']);
  assert.equal(sealed.sha256.ciphertext, sha256(fs.readFileSync(sealed.path)));
});
