import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { generateX25519Identity } from 'age-encryption';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { decrypt } from '../../../shared/crypto/open-sealed.ts';
import { opensshKey } from '../../../shared/crypto/openssh-key.ts';
import { requireCommand } from '../../require-service.ts';
import { chunksOf, gather, read, rsaKey, run, sshKeygen, write } from './keys.ts';

/** Seals with the stock command for the recipient and opens with the identities of the text. */
async function opensFromAge(recipient: string, identityText: string): Promise<void> {
  const sealed = run('age', ['-r', recipient.trim()], 'the day');
  const plain = await gather(decrypt(chunksOf(sealed, 7), parseIdentities(identityText)));
  assert.equal(plain.toString(), 'the day');
}

test('a file of age-keygen opens what stock age sealed, comments and all', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'age-keygen')) return;
  const identity = run('age-keygen', []).toString();
  assert.match(identity, /^# created/);
  await opensFromAge(run('age-keygen', ['-y', write('native.txt', identity)]).toString(), identity);
});

for (const bits of [2048, 3072, 4096]) {
  test(`an RSA key of ${bits} bits opens what stock age sealed, as OpenSSH, PKCS#1 and PKCS#8`, async (t) => {
    if (!requireCommand(t, 'age') || !requireCommand(t, 'ssh-keygen') || !requireCommand(t, 'openssl')) return;
    const name = `rsa-${bits}`;
    const file = sshKeygen(name, '-b', String(bits));
    const openssh = read(name);
    assert.match(openssh, /BEGIN OPENSSH PRIVATE KEY/);
    await opensFromAge(read(`${name}.pub`), openssh);
    write(`${name}.pkcs1`, openssh);
    run('ssh-keygen', ['-p', '-q', '-N', '', '-m', 'PEM', '-f', `${file}.pkcs1`]);
    const pkcs1 = read(`${name}.pkcs1`);
    assert.match(pkcs1, /BEGIN RSA PRIVATE KEY/);
    await opensFromAge(read(`${name}.pub`), pkcs1);
    const pkcs8 = run('openssl', ['pkcs8', '-topk8', '-nocrypt'], pkcs1).toString();
    assert.match(pkcs8, /BEGIN PRIVATE KEY/);
    await opensFromAge(read(`${name}.pub`), pkcs8);
  });
}

test('OpenSSH keys are read whatever their numbers: thirty of them are the key that ssh-keygen writes as PEM', (t) => {
  if (!requireCommand(t, 'ssh-keygen')) return;
  for (let number = 0; number < 30; number++) {
    const name = `small-${number}`;
    const file = sshKeygen(name, '-b', '1024');
    const key = opensshKey(read(name), 1);
    run('ssh-keygen', ['-p', '-q', '-N', '', '-m', 'PEM', '-f', file]);
    assert.deepEqual(key.export({ format: 'jwk' }), createPrivateKey(read(name)).export({ format: 'jwk' }));
  }
});

test('of several identities in one file each opens its own', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'age-keygen') || !requireCommand(t, 'ssh-keygen')) return;
  const native = run('age-keygen', []).toString();
  const first = sshKeygen('rsa-2048', '-b', '2048');
  const second = sshKeygen('pem-2048', '-b', '2048', '-m', 'PEM');
  const text = `# mine\n${read('rsa-2048')}\n${native}\n\n${read('pem-2048')}`;
  assert.equal(parseIdentities(text).length, 3);
  await opensFromAge(run('age-keygen', ['-y', write('native.txt', native)]).toString(), text);
  for (const file of [first, second]) await opensFromAge(read(`${file.split('/').at(-1)}.pub`), text);
});

test('a key that is not among the recipients does not open', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'ssh-keygen')) return;
  sshKeygen('rsa-2048', '-b', '2048');
  const sealed = run('age', ['-r', read('rsa-2048.pub').trim()], 'the day');
  const others = [
    rsaKey(2048).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    await generateX25519Identity(),
  ];
  for (const other of others) {
    await assert.rejects(gather(decrypt(chunksOf(sealed), parseIdentities(other))), { code: 'sealed_unreadable' });
  }
});

test('a key with a passphrase is said to have one, in every format', (t) => {
  if (!requireCommand(t, 'ssh-keygen')) return;
  const key = rsaKey(2048).privateKey;
  const passphrase = { cipher: 'aes-256-cbc', passphrase: 'secret' };
  const texts = [
    key.export({ type: 'pkcs8', format: 'pem', ...passphrase }).toString(),
    key.export({ type: 'pkcs1', format: 'pem', ...passphrase }).toString(),
    read(sshKeygen('locked', '-b', '2048', '-N', 'secret').split('/').at(-1)!),
    '-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----',
    'age-encryption.org/v1\n-> scrypt abc 18\n',
  ];
  for (const text of texts)
    assert.throws(() => parseIdentities(`# mine\n${text}`), { code: 'identity_needs_passphrase' });
});

test('anything else is refused with its line, and never quoted', async () => {
  const native = await generateX25519Identity();
  const openssh = (body: string) => `-----BEGIN OPENSSH PRIVATE KEY-----\n${body}\n-----END OPENSSH PRIVATE KEY-----`;
  const texts = [
    native.replace(/.$/, (last) => (last === 'Q' ? 'P' : 'Q')),
    native.slice(0, -3),
    native.toLowerCase(),
    native.replace('KEY-1', 'KEY-PQ-1'),
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    rsaKey(2048).publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----',
    openssh('AAAA'),
    openssh(Buffer.from('openssh-key-v1\0').toString('base64')),
    'somebody',
  ];
  for (const text of texts) {
    assert.throws(
      () => parseIdentities(`# mine\n\n${text}`),
      (error: Error & { code: string }) =>
        error.code === 'identity_invalid' &&
        error.message.includes('line 3') &&
        !error.message.includes(text.slice(-12)),
      text,
    );
  }
  assert.throws(() => parseIdentities('# nothing\n'), { code: 'identity_invalid' });
});

test('an OpenSSH key cut or changed anywhere is refused or still a key, never a crash', (t) => {
  if (!requireCommand(t, 'ssh-keygen')) return;
  sshKeygen('rsa-2048', '-b', '2048');
  const body = Buffer.from(read('rsa-2048').split('\n').slice(1, -2).join(''), 'base64');
  const wrap = (bytes: Buffer) =>
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----`;
  for (let at = 0; at < body.length; at += 5) {
    const changed = Buffer.from(body);
    changed[at]! ^= 0x81;
    for (const bytes of [body.subarray(0, at), changed]) {
      try {
        parseIdentities(wrap(bytes));
      } catch (error) {
        assert.match((error as { code: string }).code, /^identity_/);
      }
    }
  }
});
