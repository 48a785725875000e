/** `backup-secrets`: what it seals starts an empty machine; every step fails before and after its effect. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { backUpSecrets, type SecretsBackup } from '../../../compactor/backup/back-up-secrets.ts';
import { collectSecrets } from '../../../compactor/backup/collect-secrets.ts';
import { addDays, dayOf } from '../../../shared/clock.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { openDirectoryReplacer } from '../../../shared/store/directory/replace.ts';
import { type Fault, faultyStore } from '../../faults/faulty.ts';
import { requireCommand } from '../../require-service.ts';
import { sendWebhook } from '../../stripe/webhook-sender.ts';
import { eventsOf, openArchive, verify } from '../archive-under-test.ts';
import type { Books } from '../books.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const program = join(root, 'compactor/main.ts');
let books: Books;
let identity: string;
let old: string;
let environment: Record<string, string>;

/** A machine as somebody might have set it up: by files, by variables, by a file of settings. */
beforeEach(async () => {
  books = await openArchive();
  identity = await generateX25519Identity();
  old = join(books.directory, 'old machine');
  fs.mkdirSync(old);
  const file = (name: string, text: string) => {
    fs.writeFileSync(join(old, name), text, { mode: 0o600 });
    return join(old, name);
  };
  const sources = [
    { name: 'platform', scheme: 'stripe', secrets: [{ file: file('stripe secret', 'whsec_kept\n') }] },
    { name: 'billing', scheme: 'panda', secrets: [{ env: 'PANDA_KEY' }] },
  ];
  file('.env', "COMPACTOR_LAG_SECONDS=60\nPANDA_KEY='with ` and \" and blanks'\n");
  environment = {
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
    DAYBOOK_SOURCES: file('sources.json', JSON.stringify(sources)),
    DAYBOOK_STREAM_KEY_FILE: file('stream key', `${'k'.repeat(40)}\n`),
    COMPACTOR_RECIPIENTS: await identityToRecipient(books.identity),
    COMPACTOR_BACKUP_RECIPIENTS: file('backup-recipients.txt', `# ours\n${await identityToRecipient(identity)}\n`),
    COMPACTOR_SIGNING_KEY_FILE: file('signing.pem', books.signingKey),
    COMPACTOR_JOB_SECRET: 'a secret of the jobs',
  };
});
afterEach(() => books.close());

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(directory: string, args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [program, ...args],
      { env: { PATH: process.env.PATH, ...env }, cwd: directory },
      (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

test('an empty machine, stock age and tar: the next night goes on with the chain, and what is signed as before is taken', async (t) => {
  if (!requireCommand(t, 'age')) return;
  const backup = await run(old, ['backup-secrets'], environment);
  assert.equal(backup.code, 0, backup.stderr);
  const latest = join(books.archive, 'secrets/daybook-latest.tar.age');
  assert.equal(fs.readdirSync(join(books.archive, 'secrets')).length, 2);
  for (const text of [backup.stdout, backup.stderr, fs.readFileSync(latest, 'latin1')]) {
    for (const secret of ['whsec_kept', 'with ` and', 'kkkkk', 'of the jobs', 'PRIVATE'])
      assert.ok(!text.includes(secret));
  }
  const { information } = await verify(books);
  assert.deepEqual(
    information.filter(({ code }) => code === 'orphan' || code === 'other_file'),
    [],
  );

  // The machine is gone.
  fs.rmSync(old, { recursive: true });
  const bare = join(books.directory, 'bare');
  fs.mkdirSync(bare);
  fs.writeFileSync(join(bare, 'key'), `${identity}\n`);
  execFileSync('bash', ['-c', `set -o pipefail; age -d -i key '${latest}' | tar x`], { cwd: bare });
  for (const path of ['.env', ...fs.readdirSync(join(bare, 'secrets')).map((name) => `secrets/${name}`)]) {
    assert.equal(fs.statSync(join(bare, path)).mode & 0o777, 0o600, path);
  }
  const night = await run(bare, ['run', '--json']);
  assert.equal(night.code, 0, night.stdout + night.stderr);
  assert.equal(JSON.parse(night.stdout).manifest, 4);
  const keys = createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }).toString();
  const store = { DAYBOOK_STORE: environment.DAYBOOK_STORE!, COMPACTOR_VERIFYING_KEYS: keys };
  assert.equal((await run(bare, ['verify'], store)).code, 0);

  const child = spawn(process.execPath, [join(root, 'deploy/scripts/start.ts')], {
    cwd: bare,
    env: {
      PATH: process.env.PATH,
      INGEST_PORT: '0',
      INGEST_ADMIN_PORT: '0',
      COMPACTOR_PORT: '0',
      COMPACTOR_ADMIN_PORT: '0',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'close');
  try {
    const said: string[] = [];
    let port: number | undefined;
    for await (const line of createInterface({ input: child.stderr })) {
      said.push(line);
      if (!/"program":"ingest".*"listening"/.test(line)) continue;
      port = JSON.parse(line).port;
      break;
    }
    assert.ok(port !== undefined, said.join('\n'));
    assert.ok(!said.some((line) => line.includes('DEVELOPMENT VALUES')), 'nothing had to be made up');
    // Of yesterday: one of later today would be refused.
    const [event] = eventsOf(addDays(dayOf(Date.now()), -1), 1, 'after');
    const url = `http://127.0.0.1:${port}/webhooks/platform`;
    const answer = await sendWebhook({ url, body: event!.text, secrets: ['whsec_kept'] });
    assert.equal(answer.status, 200);
  } finally {
    child.stderr.resume();
    child.kill('SIGTERM');
    await ended;
  }
});

test('what is referred to and is not here: nothing is written, or it is said what is left out', async () => {
  fs.rmSync(join(old, 'stripe secret'));
  const refused = await run(old, ['backup-secrets'], environment);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /DAYBOOK_SOURCES: the file .*stripe secret cannot be read \(ENOENT\)/);
  assert.ok(!fs.existsSync(join(books.archive, 'secrets')));
  const { code, stdout } = await run(
    old,
    ['backup-secrets', '--allow-missing', '--name', 'nights', '--json'],
    environment,
  );
  const report = JSON.parse(stdout);
  assert.deepEqual([code, report.missing.length, report.latest], [0, 1, 'secrets/nights-latest.tar.age']);
  const { COMPACTOR_BACKUP_RECIPIENTS: _, ...others } = environment;
  const nobody = await run(old, ['backup-secrets'], others);
  assert.deepEqual([nobody.code, /COMPACTOR_BACKUP_RECIPIENTS: is required/.test(nobody.stderr)], [1, true]);
  const noKey = await run(old, ['backup-secrets'], { ...environment, COMPACTOR_SIGNING_KEY_FILE: 'gone.pem' });
  assert.deepEqual([noKey.code, /COMPACTOR_SIGNING_KEY_FILE: cannot be read/.test(noKey.stderr)], [1, true]);
  assert.equal((await run(old, ['backup-secrets', '--name', '../x'], environment)).code, 1);
});

test('files that a setting in JSON names come along, and the setting names where they are then', async () => {
  const ca = join(old, 'ca.pem');
  fs.writeFileSync(ca, 'of the authority');
  const stream = {
    type: 'kafka',
    params: { brokers: ['b:1'], topic: 'events', ssl: { ca }, sasl: { password: '\'"`\\n' } },
  };
  const awkward = 'it\'s "that`';
  const { files } = await collectSecrets({ DAYBOOK_STREAM: JSON.stringify(stream), LOG_LEVEL: 'info' });
  const text = (path: string) => String(files.find((file) => file.path === path)!.bytes);
  const written = JSON.parse(text('secrets/DAYBOOK_STREAM'));
  assert.equal(text(written.params.ssl.ca), 'of the authority');
  written.params.ssl.ca = ca;
  assert.deepEqual(written, stream);
  assert.deepEqual({ ...parseEnv(text('.env')) }, { DAYBOOK_STREAM_FILE: 'secrets/DAYBOOK_STREAM', LOG_LEVEL: 'info' });
  // No quotes can hold it.
  await assert.rejects(collectSecrets({ INGEST_HOST: awkward }), {
    code: 'configuration_invalid',
    message: /INGEST_HOST/,
  });
});

test('every step fails before its effect and after it: what is there is whole, and the next run makes both', async () => {
  const replacer = openDirectoryReplacer(books.archive);
  const failure = new DaybookError('store_unavailable', { detail: 'injected' });
  let minute = 0;
  const back = (decide: (operation: string, key: string) => Fault) => {
    const faulty: SecretsBackup['places'][number] = {
      store: faultyStore(books.store, (operation, key) => decide(operation, key)),
      replacer: {
        ...replacer,
        async replace(key, bytes) {
          const fault = decide('replace', key);
          if (fault === 'before') throw failure;
          await replacer.replace(key, bytes);
          if (fault === 'after') throw failure;
        },
      },
    };
    minute += 1;
    const clock = { now: () => new Date(Date.UTC(2026, 10, 30, 3, minute)) };
    const given = { environment: { LOG_LEVEL: 'info' }, name: 'test', prefix: '', allowMissing: false, clock };
    return identityToRecipient(identity).then((recipient) =>
      backUpSecrets({ ...given, recipients: [recipient], places: [faulty] }),
    );
  };
  const first = await back(() => undefined);
  for (const operation of ['create', 'replace', 'read']) {
    for (const way of ['before', 'after'] as const) {
      const latest = fs.readFileSync(join(books.archive, first.latest));
      const outcome = await back((each) => (each === operation ? way : undefined)).catch((error) => error.code);
      const isSame = latest.equals(fs.readFileSync(join(books.archive, first.latest)));
      if (operation === 'create' && way === 'after')
        assert.equal(typeof outcome, 'object', 'it is there, so it was made');
      else assert.equal(outcome, 'store_unavailable');
      assert.equal(isSame, operation === 'read' || way === 'before', `${operation} ${way}`);
      const next = await back(() => undefined);
      const [dated, newest] = [next.key, next.latest].map((key) => fs.readFileSync(join(books.archive, key)));
      assert.ok(dated!.equals(newest!));
    }
  }
  const names = fs.readdirSync(join(books.archive, 'secrets')).filter((name) => !name.includes('latest'));
  assert.ok(names.length >= 10 && names.every((name) => /^test-2026-11-30T03-\d\d-00-000Z\.tar\.age$/.test(name)));
});
