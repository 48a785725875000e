/** `keys rotate`, as its user meets it: what the file has afterwards, what is said where, and what is refused. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { dayMs } from '../../../shared/clock.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';
import { sourcesSchema } from '../../../shared/schemes/sources.ts';
import { runOnTerminal } from '../../terminal.ts';
import { type KeysOptions, mainPath, runKeys } from './keys-process.ts';

const directory = fs.mkdtempSync(join(tmpdir(), 'daybook-rotate-'));
after(() => fs.rmSync(directory, { recursive: true }));

const old = 'the secret that was there before';
const rolled = 'whsec_rolledatstripeandgivenhere00000';

/** A folder with sources in it. */
function place(sources: unknown, environment: Record<string, string> = {}) {
  const cwd = fs.mkdtempSync(join(directory, 'case-'));
  const path = join(cwd, 'sources.json');
  fs.writeFileSync(path, typeof sources === 'string' ? sources : JSON.stringify(sources));
  const options: KeysOptions = { cwd, environment: { DAYBOOK_SOURCES: path, ...environment } };
  return {
    ...{ cwd, path, options },
    text: () => fs.readFileSync(path, 'utf8'),
    secrets: (index = 0) => {
      const found = sourcesSchema.parse(JSON.parse(fs.readFileSync(path, 'utf8')))[index]!;
      assert.ok(found.scheme !== 'cookie');
      return found.secrets;
    },
    rotate: (words: readonly string[] = [], more: Partial<KeysOptions> = {}) =>
      runKeys(['rotate', '--source', 'billing', ...words], { ...options, ...more }),
  };
}

const panda = (...secrets: unknown[]) => [{ name: 'billing', scheme: 'panda', secrets }];

/** Five days after now, give or take the run of the test. */
function assertEnd(notAfter: string): void {
  const offMs = Date.now() + 5 * dayMs - Date.parse(notAfter);
  assert.ok(offMs >= 0 && offMs < 60_000, notAfter);
}

test('a secret in the sources file: a new one before it, five days for the old one, all else as it was', async () => {
  const text = `[
  { "name": "other",   "scheme": "stripe", "secrets": ["whsec_x"] },
  {
    "name": "billing", "scheme": "panda", "allow": ["192.0.2.0/24"],
    "secrets": [
      "${old}"
    ]
  }
]
`;
  const { cwd, path, rotate, secrets, text: written } = place(text);
  fs.chmodSync(path, 0o640);
  const { code, stdout, stderr } = await rotate(['--yes']);
  assert.equal(code, 0, stderr);
  const [newest, previous] = secrets(1) as [string, { value: string; notAfter: string }];
  assert.match(newest, /^[A-Za-z0-9+/]{43}=$/);
  assert.equal(stdout, `${newest}\n`, 'stdout has the new secret and nothing else');
  assert.equal(previous.value, old);
  assertEnd(previous.notAfter);
  assert.equal(
    written(),
    text.replace(`"${old}"`, `"${newest}",\n      { "value": "${old}", "notAfter": "${previous.notAfter}" }`),
  );
  assert.equal(fs.statSync(path).mode & 0o7777, 0o640);
  assert.deepEqual(fs.readdirSync(cwd), ['sources.json']);
  for (const part of [keyidOf(newest), keyidOf(old), previous.notAfter, 'stdout, this once']) {
    assert.ok(stderr.includes(part), `${part} in ${stderr}`);
  }
  for (const secret of [newest, old, 'whsec_x']) assert.ok(!stderr.includes(secret));

  await rotate(['--yes']);
  const [, second, third] = secrets(1) as [string, { value: string }, { value: string; notAfter: string }];
  assert.deepEqual([second.value, third], [newest, previous], 'an end that is near stays where it is');
});

test('a secret in a file of its own: the new one beside it, of the same mode, and of what leads there by links', async () => {
  const { cwd, path, rotate, secrets } = place([]);
  const file = join(cwd, 'billing.secret');
  fs.writeFileSync(file, `${old}\n`);
  fs.chmodSync(file, 0o440);
  fs.writeFileSync(join(cwd, 'real.json'), JSON.stringify(panda({ file })));
  fs.rmSync(path);
  fs.symlinkSync('real.json', path);
  const { code, stdout, stderr } = await rotate(['--yes']);
  assert.equal(code, 0, stderr);
  const secret = stdout.trim();
  const [newest, previous] = secrets() as [{ file: string }, { file: string; notAfter: string }];
  assert.equal(newest.file, `${file}-${keyidOf(secret)}`);
  assert.equal(fs.readFileSync(newest.file, 'utf8'), `${secret}\n`);
  assert.equal(fs.statSync(newest.file).mode & 0o7777, 0o440);
  assert.equal(previous.file, file);
  assertEnd(previous.notAfter);
  assert.equal(fs.readlinkSync(path), 'real.json');
  assert.ok(!fs.readFileSync(path, 'utf8').includes(secret) && !stderr.includes(secret));

  const next = (await rotate(['--yes'])).stdout.trim();
  assert.equal((secrets()[0] as { file: string }).file, `${file}-${keyidOf(next)}`);
});

test('each scheme whose secrets we make has one that its own check has nothing against', async () => {
  for (const scheme of ['panda', 'standard', 'github']) {
    const { rotate } = place([{ name: 'billing', scheme, secrets: ['whsec_c29tZSBrZXkgb2YgdHdlbnR5LWZvdXI='] }]);
    const { code, stdout, stderr } = await rotate(['--yes']);
    assert.equal(code, 0, stderr);
    assert.match(stdout, scheme === 'standard' ? /^whsec_[\w+/]{43}=\n$/ : /^[\w+/]{43}=\n$/);
  }
});

test('a secret that the sender makes is asked for, taken from a file or stdin, looked at, and not printed', async () => {
  const stripe = [{ name: 'billing', scheme: 'stripe', secrets: [`whsec_${'0'.repeat(32)}`] }];
  const { cwd, rotate, secrets, text } = place(stripe);
  const unchanged = text();
  const file = join(cwd, 'new-secret');
  const refused: [string, string, RegExp][] = [
    ['', '', /made by the sender: Stripe\n[\s\S]*--secret-file/],
    ['rk_live_1234567890abcdef1234567890', '', /restricted API key/],
    [`whsec_${'0'.repeat(32)}\n`, '', /has this secret already/],
    ['', ' \n', /is empty/],
  ];
  for (const [content, stdin, said] of refused) {
    fs.writeFileSync(file, content);
    const words = content !== '' ? ['--secret-file', file] : stdin !== '' ? ['--secret-file', '-'] : [];
    const { code, stdout, stderr } = await rotate(['--yes', ...words], { stdin });
    assert.equal(code, 1, stderr);
    assert.match(stderr, said);
    assert.equal(stdout, '');
    if (content !== '') assert.ok(!stderr.includes(content.trim()));
  }
  assert.equal((await rotate(['--yes', '--secret-file', join(cwd, 'none')])).code, 1);
  assert.equal(text(), unchanged);

  const { code, stdout, stderr } = await rotate(['--yes', '--secret-file', '-'], { stdin: `${rolled}\n` });
  assert.deepEqual([code, stdout], [0, ''], stderr);
  assert.equal(secrets()[0], rolled);
  assert.ok(!stderr.includes(rolled) && stderr.includes(keyidOf(rolled)));
});

test('a secret in the environment: what to set is printed, and nothing is changed', async () => {
  const { rotate, text } = place(panda({ env: 'BILLING_SECRET' }), { BILLING_SECRET: old });
  const unchanged = text();
  const { code, stdout, stderr } = await rotate();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^[A-Za-z0-9+/]{43}=\n$/);
  assert.match(
    stderr,
    /Nothing was changed\.[\s\S]* BILLING_SECRET_2 to the new secret, which is on stdout, this once/,
  );
  const [, list] = /^ {2}(\[.*\])$/m.exec(stderr)!;
  const [newest, previous] = JSON.parse(list!);
  assert.deepEqual([newest, previous.env], [{ env: 'BILLING_SECRET_2' }, 'BILLING_SECRET']);
  assertEnd(previous.notAfter);
  assert.ok(!stderr.includes(stdout.trim()) && !stderr.includes(old));
  assert.equal(text(), unchanged);

  const stripe = place([{ name: 'billing', scheme: 'stripe', secrets: ['whsec_inline', { env: 'SECRET_2' }] }]);
  const [inline] = stripe.secrets();
  fs.writeFileSync(
    stripe.path,
    JSON.stringify([{ name: 'billing', scheme: 'stripe', secrets: [{ env: 'SECRET_2' }, inline] }]),
  );
  const outcome = await stripe.rotate();
  assert.deepEqual([outcome.code, outcome.stdout], [0, '']);
  assert.match(outcome.stderr, /SECRET_3 to the new secret that Stripe shows/);
  assert.ok(!outcome.stderr.includes('whsec_inline'));
});

test('sources that are a text in the environment, a source that is not there, and a broken file are refused', async () => {
  const { rotate, path, text } = place(panda(old));
  const unchanged = text();
  const inline = await rotate(['--yes'], { environment: { DAYBOOK_SOURCES: unchanged } });
  assert.deepEqual([inline.code, inline.stdout], [1, '']);
  assert.match(inline.stderr, /a text in the environment[\s\S]*usage: Put them into a file/);
  const unknown = await rotate(['--yes', '--source', 'nobody']);
  assert.deepEqual([unknown.code, unknown.stdout], [1, '']);
  assert.match(unknown.stderr, /no source is named nobody/);
  const cookie = {
    scheme: 'cookie',
    cookie: 'gutoolsAuth-assym',
    publicKeys: [{ env: 'KEY' }],
    emailDomains: ['x.org'],
  };
  fs.writeFileSync(path, JSON.stringify([{ name: 'billing', ...cookie, origins: ['https://x.org'] }]));
  assert.match((await rotate(['--yes'])).stderr, /cookies are verified with public keys/);
  fs.writeFileSync(path, '[{');
  assert.match((await rotate(['--yes'])).stderr, /configuration_invalid/);
});

test('without a terminal and without --yes nothing happens', async () => {
  const { rotate, text } = place(panda(old));
  const unchanged = text();
  const { code, stdout, stderr } = await rotate();
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /there is no terminal to ask on[\s\S]*confirmation_needed: [\s\S]*--yes/);
  assert.equal(text(), unchanged);
});

test('on a terminal it asks, and only y is yes; what somebody else wrote while it asked stays', async (t) => {
  const command = [process.execPath, mainPath, 'keys', 'rotate', '--source', 'billing'];
  const answered = async (answer: string | (() => string), given: ReturnType<typeof place>) => {
    const typed = [['Rotate? [y/N] ', answer]] as const;
    return runOnTerminal(t, command, { cwd: given.cwd, env: { DAYBOOK_SOURCES: given.path }, typed: [[...typed[0]]] });
  };
  for (const answer of ['n\n', '\n', 'yess\n']) {
    const given = place(panda(old));
    const outcome = await answered(answer, given);
    if (outcome === undefined) return;
    assert.equal(outcome.code, 1);
    assert.match(outcome.shown, /new +keyid [0-9a-f]{16} +from[\s\S]*previous +keyid [0-9a-f]{16} +until/);
    assert.deepEqual(given.secrets(), [old]);
  }
  const agreed = place(panda(old));
  const outcome = await answered('y\n', agreed);
  assert.equal(outcome!.code, 0, outcome!.shown);
  assert.ok(outcome!.shown.includes(agreed.secrets()[0] as string));

  const raced = place(panda(old));
  const theirs = JSON.stringify(panda('of somebody else, who was quicker'));
  const late = await answered(() => {
    fs.writeFileSync(raced.path, theirs);
    return 'y\n';
  }, raced);
  assert.equal(late!.code, 2);
  assert.match(late!.shown, /file_changed/);
  assert.equal(raced.text(), theirs);
});

for (const step of ['secret', 'rename', 'sync']) {
  for (const way of ['before', 'after']) {
    test(`killed ${way} the effect of ${step}: the file is the old one or the new one, whole, and a repeat goes through`, async () => {
      const { cwd, path, rotate, secrets, options, text } = place([]);
      const file = join(cwd, 'billing.secret');
      fs.writeFileSync(file, old);
      fs.writeFileSync(path, JSON.stringify(panda({ file })));
      const unchanged = text();
      const { signal, stdout } = await rotate(['--yes'], {
        environment: { ...options.environment, KILL_STEP: step, KILL_WAY: way },
        preload: new URL('./keys-kill.ts', import.meta.url),
      });
      assert.deepEqual([signal, stdout], ['SIGKILL', '']);
      const isDone = step === 'sync' || (step === 'rename' && way === 'after');
      if (isDone) {
        const [newest, previous] = secrets() as { file: string }[];
        assert.equal(keyidOf(fs.readFileSync(newest!.file, 'utf8').trim()), newest!.file.slice(-16));
        assert.equal(previous!.file, file);
      } else assert.equal(text(), unchanged);
      const repeated = await rotate(['--yes']);
      assert.equal(repeated.code, 0, repeated.stderr);
      assert.equal(secrets().length, isDone ? 3 : 2);
    });
  }
}

test('where stdout takes nothing the rotation is done all the same, and it is said where the secret is', async () => {
  const { rotate, path, secrets } = place(panda(old));
  const { code, stderr } = await rotate(['--yes'], { preload: new URL('./no-stdout.ts', import.meta.url) });
  assert.equal(code, 2);
  assert.match(stderr, /the rotation is done, but the new secret could not be printed: it is in /);
  assert.ok(stderr.includes(path) && !stderr.includes(secrets()[0] as string));
});
