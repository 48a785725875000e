import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openStaging } from '../../../compactor/staging/staging.ts';
import { copiesOf, eventsOfDay } from '../../faults/night-books.ts';
import { startNight } from '../../faults/night-process.ts';
import { openBooks } from '../books.ts';

let data: string;
before(() => {
  data = mkdtempSync(join(tmpdir(), 'daybook-staging-'));
});
after(() => rmSync(data, { recursive: true, force: true }));

const folders = () =>
  readdirSync(join(data, 'staging'), { withFileTypes: true }).filter((entry) => entry.isDirectory());

test('a run has a folder that others cannot read, nor take its locks, and removes it', () => {
  const staging = openStaging(data);
  const root = join(data, 'staging');
  const modes = [root, staging.directory, join(root, 'turn.lock'), join(staging.directory, 'run.lock')];
  assert.deepEqual(
    modes.map((path) => statSync(path).mode & 0o777),
    [0o700, 0o700, 0o600, 0o600],
  );
  staging.remove();
  assert.deepEqual(folders(), []);
});

test('what a dead run left is removed when the next one starts; what a living one has stays', async (t) => {
  const living = openStaging(data);
  const script = `const { openStaging } = await import(${JSON.stringify(new URL('../../../compactor/staging/staging.ts', import.meta.url).href)});
    globalThis.staging = openStaging(${JSON.stringify(data)}); process.stdout.write(staging.directory); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [directory] = await once(child.stdout, 'data');
  writeFileSync(join(String(directory), 'plaintext'), 'secret');
  openStaging(data).remove();
  assert.ok(existsSync(join(String(directory), 'plaintext')), 'it lives');
  child.kill('SIGKILL');
  await once(child, 'exit');
  openStaging(data).remove();
  assert.ok(!existsSync(String(directory)));
  assert.ok(existsSync(living.directory));
  living.remove();
});

test('whatever is not of a run stays, beside it and behind links', (t) => {
  const own = mkdtempSync(join(tmpdir(), 'daybook-staging-'));
  t.after(() => rmSync(own, { recursive: true, force: true }));
  const elsewhere = join(own, 'elsewhere');
  const put = (folder: string, name = 'precious') => {
    mkdirSync(join(elsewhere, folder), { recursive: true });
    writeFileSync(join(elsewhere, folder, name), 'x');
    return join(elsewhere, folder, name);
  };
  // With a name of ours and no lock; with a lock and another name; with a lock that is a folder.
  const kept = [
    put('release-42/db'),
    put('0123456789abcdef'),
    put('other', 'run.lock'),
    put('0123456789abcde0/run.lock'),
  ];
  const left = join(elsewhere, '0123456789abcdee');
  mkdirSync(left);
  symlinkSync(join(elsewhere, 'release-42'), join(elsewhere, '0123456789abcde1'));
  symlinkSync(elsewhere, join(own, 'staging'));
  openStaging(own).remove();
  for (const path of kept) assert.ok(existsSync(path), path);
  assert.ok(!existsSync(left), 'an empty folder of a run that died at its very begin');
  assert.ok(existsSync(join(elsewhere, '0123456789abcde1')));
});

test('a run that cannot stage says so by its code: exit 2, and the next one does all', async (t) => {
  const books = await openBooks();
  t.after(() => books.close());
  await books.deliver(...eventsOfDay('2026-11-20', 3, 'staged').flatMap((event) => copiesOf(event, 1)));
  writeFileSync(join(books.directory, 'staging'), 'no folder');
  const refused = await (await startNight(books)).ended;
  assert.deepEqual([refused.code, refused.report.errors.map(({ code }) => code)], [2, ['staging_failed']]);
  rmSync(join(books.directory, 'staging'));
  assert.equal((await (await startNight(books)).ended).code, 0);
});
