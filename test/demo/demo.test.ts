import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { requireCommand } from '../require-service.ts';
import { runOnTerminal } from '../terminal.ts';

const run = promisify(execFile);
const root = dirname(dirname(import.meta.dirname));
// With a space: what the demo prints must be quoted.
const folder = await mkdtemp(join(tmpdir(), 'daybook demo-'));
after(() => rm(folder, { recursive: true, force: true }));

async function demo(): Promise<string> {
  const { stdout } = await run(process.execPath, [join(root, 'test/demo/demo.ts')], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, DAYBOOK_DATA_DIR: folder },
    timeout: 60_000,
  });
  return stdout;
}

/** The commands below a line `# …` of the demo's last part, run as pasted into a shell. */
async function paste(printed: string, what: RegExp): Promise<string> {
  const block = printed
    .split(/\n(?=# )/)
    .find((text) => what.test(text))
    ?.split('\n\n')[0];
  assert.ok(block !== undefined, `nothing printed for ${what}`);
  const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', block], { cwd: root });
  return stdout;
}

let printed = '';

test('the demo ends by itself with exit 0 in under a minute, and again a second time', async () => {
  await demo();
  printed = await demo();
  assert.match(printed, /Stripe webhook, wrong signature +5 +400 signature_mismatch/);
  assert.match(printed, /These are the numbers that were sent/);
  assert.match(printed, /A second run finds nothing new|one more day was closed/);
  assert.match(printed, /^OK: \d manifest/m);
  const runs = (await readdir(join(folder, 'demo'))).filter((name) => name !== 'development');
  assert.equal(runs.length, 2);
});

test('what the demo prints fits the terminal and shows no secret', () => {
  // The commands of the last part are as long as the paths in them.
  const lines = printed.slice(0, printed.indexOf('\n6. ')).split('\n');
  for (const line of lines) assert.ok(line.length <= 100, line);
  assert.doesNotMatch(printed, /whsec_|AGE-SECRET-KEY|PRIVATE KEY|sk_test/);
});

test('an event is shown as JSON, and the last line says what it was all for', () => {
  const shown = printed.slice(printed.indexOf('\n{', printed.indexOf('\n5. ')), printed.indexOf('\n6. '));
  const event = JSON.parse(shown);
  // Some objects have no id, such as a customer's summary of entitlements.
  const { id: _, ...others } = event.data.object;
  assert.deepEqual(Object.keys(others), ['object', '…']);
  assert.ok(shown.trim().split('\n').length <= 25, shown);
  assert.equal(printed.trimEnd().split('\n').at(-1), '12 webhooks never came; all 12 events are in the archive.');
});

test('the README shows what the demo prints', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const block = readme.split('```').find((text) => text.includes('\nwhat was sent '))!;
  const withoutDates = (line: string) => line.replaceAll(/\d{4}-\d\d-\d\d/g, 'DATE');
  const lines = new Set(printed.split('\n').map(withoutDates));
  const others = block.trim().split('\n').map(withoutDates);
  assert.deepEqual(
    others.filter((line) => line !== '…' && !lines.has(line)),
    [],
  );
  assert.equal(others.at(-1), withoutDates(printed.trimEnd().split('\n').at(-1)!));
});

test('colours are for a terminal alone, and none with NO_COLOR', async (t) => {
  const colour = '\u001b[';
  assert.ok(!printed.includes(colour));
  const script = `await import(${JSON.stringify(join(root, 'test/demo/describe.ts'))}).then((d) => d.describeOutcome(12, 12))`;
  const command = [process.execPath, '--input-type=module', '--eval', script];
  for (const [env, isColoured] of [
    [{ TERM: 'xterm' }, true],
    [{ TERM: 'xterm', NO_COLOR: '1' }, false],
  ] as const) {
    const outcome = await runOnTerminal(t, command, { env, cwd: root, typed: [] });
    if (outcome === undefined) return;
    assert.match(outcome.shown, /12 webhooks never came/);
    assert.equal(outcome.shown.includes(colour), isColoured, outcome.shown);
  }
});

test('the printed age command opens the archived day, in order, each event once', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'jq')) return;
  const lines = (await paste(printed, /^# Open /)).trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as [number, string, string]);
  assert.equal(events.length, 60);
  assert.equal(new Set(events.map(([, id]) => id)).size, 60);
  assert.deepEqual(
    events,
    [...events].sort(([a, idA], [b, idB]) => a - b || (idA < idB ? -1 : 1)),
  );
});

test('the printed commands give the SHA-256 that the manifest says', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'jq')) return;
  const [found, said] = (await paste(printed, /^# Compare /)).trim().split('\n');
  assert.equal(found, `${said}  -`);
});

test('the printed openssl command verifies the signature of the manifest', async (t) => {
  if (!requireCommand(t, 'openssl') || !requireCommand(t, 'jq')) return;
  assert.match(await paste(printed, /^# Check the manifest/), /Signature Verified Successfully/);
});

test('the printed daybook commands verify and list the archive', async () => {
  const output = await paste(printed, /^# The same and more/);
  assert.match(output, /^OK: 1 manifests?/m);
  assert.match(output, /^Newest archived day: /m);
});

test('the programs are given public keys alone, and leave nothing of an archived day in the clear but the stream', async () => {
  const [run] = (await readdir(join(folder, 'demo'))).filter((name) => name !== 'development');
  const files = await readdir(join(folder, 'demo', run!), { recursive: true, withFileTypes: true });
  const identity = await readFile(join(folder, 'demo', 'development', 'identity.txt'), 'utf8');
  const [, privateKey] = identity.trim().split('\n');
  let sealed = 0;
  for (const file of files) {
    // The stream keeps what it has for its least age; the ids are in the clear by design.
    if (!file.isFile() || /^stream\.sqlite|\.ids\.gz$/.test(file.name)) continue;
    const bytes = await readFile(join(file.parentPath, file.name));
    assert.ok(!bytes.includes(privateKey!), `${file.name} holds the private key`);
    assert.ok(!/"api_version"|"eventTime"/.test(bytes.toString('latin1')), `${file.name} holds an event`);
    if (!file.name.endsWith('.age')) continue;
    sealed += 1;
    assert.ok(bytes.toString('latin1').startsWith('age-encryption.org/v1\n-> X25519 '), file.name);
    // What is inside age is gzip: a header of it would be a file that was not sealed.
    assert.ok(!bytes.includes(Buffer.from([0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00])), file.name);
  }
  assert.ok(sealed >= 12, `${sealed} sealed objects`);
});

test('the commands of FORMAT.md open and check the archive as they stand there', async (t) => {
  if (!['age', 'jq', 'openssl'].every((command) => requireCommand(t, command))) return;
  const [stamp] = (await readdir(join(folder, 'demo'))).filter((name) => name !== 'development');
  const base = join(folder, 'demo', stamp!);
  for (const name of ['identity.txt', 'verifying-key.pem']) {
    await copyFile(join(folder, 'demo', 'development', name), join(base, name));
  }
  const [line, signed] = (await readFile(join(base, 'archive/manifests/00000001.jsonl'), 'utf8')).split('\n');
  const [day, entry] = Object.entries<{ parts: ArchivePart[]; verdict: string }>(JSON.parse(line!).sources.platform).at(
    -1,
  )!;
  const [part] = entry.parts as [ArchivePart];
  const [source] = JSON.parse(await readFile(join(base, 'sources.json'), 'utf8'));
  const format = await readFile(join(root, 'compactor/FORMAT.md'), 'utf8');
  const commands = format
    .slice(format.indexOf('\n## Open and check an archive'))
    .split('```')
    .find((block) => block.includes('\n# Its events;'))!
    .replaceAll(/platform\/\S+<hash16>\.jsonl\S+/g, part.key)
    .replaceAll(/platform\/\S+<hash16>\.deliveries\S+/g, part.deliveries.key)
    .replaceAll('2026-11-20', day)
    .replaceAll('00000042', '00000001')
    .trim()
    .split('\n\n');
  const outputOf = async (about: string) => {
    const command = commands.find((text) => text.startsWith(`# ${about}`));
    assert.ok(command !== undefined, `FORMAT.md has no command for: ${about}`);
    const env = { PATH: process.env.PATH, secret: source.secrets[0] };
    return (await run('bash', ['-euc', command], { cwd: join(base, 'archive'), env })).stdout;
  };

  assert.ok((await outputOf('Which objects')).startsWith(`${part.key}\n["${entry.verdict}",`));
  const events = (await outputOf('Its events')).trim().split('\n');
  assert.equal(events.length, part.events + 1);
  assert.equal(events.at(-1), `${part.sha256.plaintext}  -`);
  for (const silent of ['Is every object there', 'Does each follow', 'Is a Stripe event archived twice']) {
    assert.equal(await outputOf(silent), '', silent);
  }
  const { key } = JSON.parse(signed!);
  assert.equal(await outputOf('Is a manifest signed'), `Signature Verified Successfully\n${key}\n${key}\n`);
  const [computed, headers, ...keyids] = (await outputOf('Does the signature of a Stripe delivery')).trim().split('\n');
  assert.equal(computed!.split('= ')[1], headers!.split('v1=')[1]);
  assert.equal(keyids[0], keyids[1]);
});

interface ArchivePart {
  readonly key: string;
  readonly events: number;
  readonly sha256: { readonly plaintext: string };
  readonly deliveries: { readonly key: string };
}
