import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { bech32 } from '@scure/base';
import { Encrypter, generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { decryptAge, encryptAge } from '../../../shared/crypto/age-file.ts';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { parseRecipients, type Recipients } from '../../../shared/crypto/recipients.ts';
import { publicKeyOfWire, wireOf } from '../../../shared/crypto/rsa-key.ts';
import { requireCommand } from '../../require-service.ts';
import { read, rsaKey, run, sshKeygen, write } from './keys.ts';

function encrypt(recipients: Recipients, plain: string): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  return encrypter.encrypt(plain);
}

/** Encrypts for the recipients of the text and opens the file with the stock command. */
async function opensWithAge(text: string, identityFile: string): Promise<void> {
  const { recipients, problems } = parseRecipients(text);
  assert.deepEqual(problems, []);
  const sealed = write('sealed.age', await encrypt(recipients, 'the day'));
  assert.equal(run('age', ['-d', '-i', identityFile, sealed]).toString(), 'the day');
}

const problemsOf = (text: string) => parseRecipients(text).problems;
const sshLine = (key: { publicKey: Parameters<typeof wireOf>[0] }) =>
  `ssh-rsa ${wireOf(key.publicKey).toString('base64')} somebody@example`;

test('stock age opens what is sealed for a key of age-keygen', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'age-keygen')) return;
  const identity = write('native.txt', run('age-keygen', []));
  await opensWithAge(run('age-keygen', ['-y', identity]).toString(), identity);
});

for (const bits of [2048, 3072, 4096]) {
  test(`stock age opens what is sealed for an ssh-keygen key of ${bits} bits, in every form of its public half`, async (t) => {
    if (!requireCommand(t, 'age') || !requireCommand(t, 'ssh-keygen') || !requireCommand(t, 'openssl')) return;
    const key = sshKeygen(`rsa-${bits}`, '-b', String(bits));
    await opensWithAge(read(`rsa-${bits}.pub`), key);
    const pkcs1 = run('ssh-keygen', ['-e', '-m', 'PEM', '-f', `${key}.pub`]).toString();
    assert.match(pkcs1, /BEGIN RSA PUBLIC KEY/);
    await opensWithAge(pkcs1, key);
    const spki = run('openssl', ['rsa', '-RSAPublicKey_in', '-pubout'], pkcs1).toString();
    assert.match(spki, /BEGIN PUBLIC KEY/);
    await opensWithAge(spki, key);
  });
}

test('every one of several recipients opens the file, and they may be of different kinds', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'age-keygen') || !requireCommand(t, 'ssh-keygen')) return;
  const native = write('one.txt', run('age-keygen', []));
  const [ssh, pem] = [sshKeygen('rsa-2048', '-b', '2048'), sshKeygen('pem-2048', '-b', '2048', '-m', 'PEM')];
  const text = `# who can open the archive

    ${run('age-keygen', ['-y', native])}
    ${read('rsa-2048.pub')}\r
    # the auditor
    ${run('ssh-keygen', ['-e', '-m', 'PEM', '-f', `${pem}.pub`])}`;
  assert.equal(parseRecipients(text).recipients.length, 3);
  for (const identity of [native, ssh, pem]) await opensWithAge(text, identity);
});

test('post-quantum recipients seal what their identity opens, and stand beside no weaker ones', async () => {
  const identities = [await generateHybridIdentity(), await generateHybridIdentity()];
  const keys = await Promise.all(identities.map((identity) => identityToRecipient(identity)));
  const { recipients, problems } = parseRecipients(keys.join('\n'));
  assert.deepEqual(problems, []);
  for (const identity of identities) {
    const sealed = encryptAge(Readable.from([Buffer.from('a line')]), recipients);
    const opened = await Array.fromAsync(decryptAge(sealed, parseIdentities(identity)));
    assert.equal(Buffer.concat(opened).toString(), 'a line');
  }
  const native = await identityToRecipient(await generateX25519Identity());
  assert.match(parseRecipients(`${keys[0]}\n${native}`).problems[0]!, /mixes post-quantum recipients/);
});

test('a tagged recipient, whose private half is in hardware, is sealed to without a plugin', async () => {
  // Of age's own age-plugin-tagtest: `age -d -j tagtest` opens it.
  const tagged = 'age1tag1qwe0kafsjrar4txm6heqnhpfuggzr0gvznz7fvygxrlq90u5mq2pysxtw6h';
  const native = await generateX25519Identity();
  const { recipients, problems } = parseRecipients(`${tagged}\n${await identityToRecipient(native)}`);
  assert.deepEqual(problems, []);
  const sealed = await Array.fromAsync(encryptAge(Readable.from([Buffer.from('a line')]), recipients));
  assert.match(
    Buffer.concat(sealed).toString('latin1'),
    /^age-encryption\.org\/v1\n-> p256tag \S{6} \S{87}\n\S{43}\n-> X25519 /,
  );
  const opened = await Array.fromAsync(decryptAge(Readable.from(sealed), parseIdentities(native)));
  assert.equal(Buffer.concat(opened).toString(), 'a line');
  const strong = await identityToRecipient(await generateHybridIdentity());
  assert.match(parseRecipients(`${tagged}\n${strong}`).problems[0]!, /mixes post-quantum recipients/);
});

test('a PEM whose line feeds came as the two characters \\n is taken', () => {
  const pem = rsaKey(2048).publicKey.export({ type: 'spki', format: 'pem' }).toString();
  assert.deepEqual(problemsOf(pem.replaceAll('\n', '\\n')), []);
});

test('what stock age would not open is refused, with the number of its line and none of its text', async () => {
  const spki = { type: 'spki', format: 'pem' } as const;
  const native = await identityToRecipient(await generateX25519Identity());
  const wrong = native.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q'));
  const short = rsaKey(1024);
  const cases: [text: string, problem: RegExp][] = [
    [`age1pq1${native.slice(5)}`, /checksum/],
    [`age1yubikey1${native.slice(5)}`, /only the program age-plugin-yubikey can seal to/],
    [`age1tag1${native.slice(5)}`, /checksum/],
    [native.toUpperCase(), /not a recipient/],
    [wrong, /checksum/],
    [sshLine(short), /1024 bits: at least 2048/],
    [short.publicKey.export(spki).toString(), /1024 bits: at least 2048/],
    [sshLine(rsaKey(2048, 2 ** 31 + 11)), /exponent/],
    ['ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB', /not a readable RSA public key/],
    ['ssh-rsa', /not a readable RSA public key/],
    [`${sshLine(rsaKey(2048)).split(' ').slice(0, 2).join(' ')}AAAA`, /not a readable RSA public key/],
    ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI somebody', /not a recipient/],
    ['-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', /not a readable RSA public key/],
    ['-----BEGIN PUBLIC KEY-----\nAAAA', /not a readable RSA public key/],
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', /not a recipient/],
    ['somebody', /not a recipient/],
    ['__proto__', /not a recipient/],
  ];
  for (const [text, problem] of cases) {
    const { recipients, problems } = parseRecipients(`# first\n${native}\n${text}\n`);
    assert.equal(problems.length, 1, text);
    assert.match(problems[0]!, problem);
    assert.match(problems[0]!, /^line 3: /);
    assert.equal(recipients.length, 1);
    assert.ok(!problems[0]!.includes(text.split(' ').at(-1)!.slice(-12)), 'quotes the line');
  }
});

test('of the recipients that age-keygen makes, those are taken that the library takes', async () => {
  const known = await identityToRecipient(await generateX25519Identity());
  const words = bech32.decode(known).words;
  const characters = [...'qpzry9x8gf2tvdw0s3jn54khce6mua7l'];
  const others = Array.from({ length: 58 }, (_, index) => index + 4).flatMap((at) =>
    characters.map((character) => `${known.slice(0, at)}${character}${known.slice(at + 1)}`),
  );
  // Written beyond the 32 bytes, under a checksum that fits.
  const overfull = [1, 8, 15].map((bits) => bech32.encode('age', [...words.slice(0, -1), words.at(-1)! | bits]));
  const swapped = known.replace(/(.)(.)$/, '$2$1');
  let taken = 0;
  for (const text of [known, ...others, ...overfull, swapped, known.toUpperCase()]) {
    let isTaken = true;
    try {
      new Encrypter().addRecipient(text);
    } catch {
      isTaken = false;
    }
    assert.equal(parseRecipients(text).problems.length === 0, isTaken, text);
    taken += Number(isTaken);
  }
  // Of 32 one ends with a character twice.
  assert.equal(taken, 1 + 58 + Number(swapped === known));
});

test('the library is not loaded to read a recipient of age-keygen', async () => {
  const known = await identityToRecipient(await generateX25519Identity());
  const module = new URL('../../../shared/crypto/recipients.ts', import.meta.url).href;
  const script = `
    import { registerHooks } from 'node:module';
    let loaded = 0;
    registerHooks({ load(url, context, next) { loaded += Number(url.includes('/age-encryption/')); return next(url, context); } });
    const { parseRecipients } = await import('${module}');
    const { problems } = parseRecipients('${known}');
    const before = loaded;
    parseRecipients('${known.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q'))}');
    process.stdout.write(JSON.stringify([problems, before, loaded > 0]));`;
  const found = run(process.execPath, ['--input-type=module', '--eval', script]);
  assert.deepEqual(JSON.parse(found.toString()), [[], 0, true]);
});

test('a key pair of another type in a PEM is refused', async () => {
  const { generateKeyPairSync } = await import('node:crypto');
  const pem = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
  assert.match(problemsOf(pem)[0]!, /not a readable RSA public key/);
});

test('a private key pasted by mistake is named as such and never quoted', async () => {
  const key = rsaKey(2048).privateKey;
  const pkcs8 = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  const texts = [
    await generateX25519Identity(),
    (await generateX25519Identity()).toLowerCase(),
    'AGE-PLUGIN-YUBIKEY-1QQQQQQ',
    pkcs8,
    key.export({ type: 'pkcs1', format: 'pem' }).toString(),
    key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString(),
    pkcs8.slice(0, pkcs8.indexOf('-----END')),
    pkcs8.replaceAll('\n', '\\n'),
    '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----',
  ];
  for (const text of texts) {
    const problems = problemsOf(text);
    assert.equal(problems.length, 1);
    assert.match(problems[0]!, /^line 1: is a private key/);
  }
});

test('a text that names nobody is a problem', () => {
  for (const text of ['', '\n\n', '# nobody\n']) assert.match(problemsOf(text)[0]!, /names no recipient/);
});

test('the wire form of a key is the one that ssh-keygen writes', (t) => {
  if (!requireCommand(t, 'ssh-keygen')) return;
  sshKeygen('rsa-2048', '-b', '2048');
  const wire = Buffer.from(read('rsa-2048.pub').split(' ')[1]!, 'base64');
  assert.deepEqual(wireOf(publicKeyOfWire(wire)!), wire);
  for (let end = 0; end < wire.length; end++) assert.equal(publicKeyOfWire(wire.subarray(0, end)), undefined);
});
