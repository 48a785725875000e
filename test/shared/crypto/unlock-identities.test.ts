/** Identities with a passphrase, as the stock programs write them; a test that uses one that is missing is skipped. */
import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { test } from 'node:test';
import { armor, Encrypter, generateX25519Identity } from 'age-encryption';
import { bcryptPbkdf } from '../../../shared/crypto/bcrypt-pbkdf.ts';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { decrypt } from '../../../shared/crypto/open-sealed.ts';
import { opensshKey } from '../../../shared/crypto/openssh-key.ts';
import { type AskPassphrase, unlockIdentities } from '../../../shared/crypto/unlock-identities.ts';
import { requireCommand } from '../../require-service.ts';
import { chunksOf, gather, read, rsaKey, run, sshKeygen, write } from './keys.ts';

const passphrase = 'correct horse bättery';

/** Answers in turn, and keeps what was asked. */
function answers(...texts: string[]): AskPassphrase & { readonly asked: string[] } {
  const asked: string[] = [];
  const ask = async (of: string) => {
    asked.push(of);
    const answer = texts.shift();
    assert.ok(answer !== undefined, 'asked once too often');
    return answer;
  };
  return Object.assign(ask, { asked });
}

/** Seals with the stock command for the recipient and opens with the identities of the file. */
async function opensFromAge(recipient: string, file: string | Buffer, ask: AskPassphrase): Promise<void> {
  const sealed = run('age', ['-r', recipient.trim()], 'the day');
  const identities = await unlockIdentities(Buffer.from(file), 'key', ask);
  assert.equal((await gather(decrypt(chunksOf(sealed), identities))).toString(), 'the day');
}

test('bcrypt_pbkdf gives the published vectors', () => {
  const vectors: [string, string, number, string][] = [
    ['password', 'salt', 4, '5bbf0cc293587f1c3635555c27796598d47e579071bf427e9d8fbe842aba34d9'],
  ];
  for (const [password, salt, rounds, key] of vectors) {
    const bytes = Buffer.from(key, 'hex');
    assert.deepEqual(bcryptPbkdf(Buffer.from(password), Buffer.from(salt), bytes.length, rounds), bytes);
  }
});

for (const cipher of ['aes256-ctr', 'aes192-cbc', 'aes128-gcm@openssh.com', 'aes256-gcm@openssh.com']) {
  test(`a key of ssh-keygen, locked by ${cipher}, opens what stock age sealed for it`, async (t) => {
    if (!requireCommand(t, 'age') || !requireCommand(t, 'ssh-keygen')) return;
    const name = `locked-${cipher.replace('@', '-')}`;
    sshKeygen(name, '-b', '2048', '-Z', cipher, '-N', passphrase);
    const ask = answers(passphrase);
    await opensFromAge(read(`${name}.pub`), read(name), ask);
    assert.deepEqual(ask.asked, ['key']);
  });
}

test('whatever the numbers of rounds and the length of the passphrase, the key is the one that was locked', (t) => {
  if (!requireCommand(t, 'ssh-keygen')) return;
  for (const [rounds, length] of [
    ['1', 5],
    ['2', 72],
    ['7', 73],
    ['24', 300],
  ] as const) {
    const name = `rounds-${rounds}`;
    const word = randomBytes(length).toString('hex').slice(0, length);
    const file = sshKeygen(name, '-b', '1024', '-a', rounds, '-N', word);
    const key = opensshKey(read(name), 1, word);
    run('ssh-keygen', ['-p', '-q', '-P', word, '-N', '', '-m', 'PEM', '-f', file]);
    assert.deepEqual(key.export({ format: 'jwk' }), createPrivateKey(read(name)).export({ format: 'jwk' }));
  }
});

test('a cipher that is not read is said, with the way out', async (t) => {
  if (!requireCommand(t, 'ssh-keygen')) return;
  sshKeygen('chacha', '-b', '2048', '-Z', 'chacha20-poly1305@openssh.com', '-N', passphrase);
  await assert.rejects(unlockIdentities(Buffer.from(read('chacha')), 'key', answers(passphrase)), {
    code: 'identity_invalid',
    message: /chacha20-poly1305/,
    hint: /ssh-keygen -p -Z aes256-ctr/,
  });
});

test('PKCS#1 and PKCS#8 keys of openssl open, in every usual cipher', async () => {
  const { privateKey } = rsaKey(2048);
  for (const type of ['pkcs1', 'pkcs8'] as const) {
    for (const cipher of ['aes-256-cbc', 'aes-128-cbc', 'des-ede3-cbc']) {
      const pem = privateKey.export({ type, format: 'pem', cipher, passphrase });
      const [identity] = await unlockIdentities(Buffer.from(pem), 'key', answers(passphrase));
      assert.ok(typeof identity === 'object', `${type} ${cipher}`);
    }
  }
});

test('an identity file that age encrypted whole opens, binary and armored', async () => {
  const identity = await generateX25519Identity();
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  encrypter.setScryptWorkFactor(10);
  const file = await encrypter.encrypt(`# created: today\n${identity}\n`);
  for (const bytes of [file, Buffer.from(armor.encode(file))]) {
    const ask = answers('wrong', passphrase);
    assert.deepEqual(await unlockIdentities(bytes, 'key', ask), [identity]);
    assert.deepEqual(ask.asked, ['key', 'key']);
  }
});

test('of several keys those with a passphrase are asked for one by one, named by file and line', async () => {
  const native = await generateX25519Identity();
  const lock = (word: string) =>
    rsaKey(2048)
      .privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: word })
      .toString();
  const text = `${lock('one')}\n${native}\n${lock('two')}`;
  const ask = answers('one', 'no', 'two');
  assert.equal((await unlockIdentities(Buffer.from(text), 'keys.txt', ask)).length, 3);
  const second = text.split('\n').lastIndexOf('-----BEGIN ENCRYPTED PRIVATE KEY-----') + 1;
  assert.deepEqual(ask.asked, ['keys.txt, line 1', `keys.txt, line ${second}`, `keys.txt, line ${second}`]);
});

test('a file without a passphrase is never asked about, and reads as parseIdentities reads it', async () => {
  const native = await generateX25519Identity();
  assert.deepEqual(await unlockIdentities(Buffer.from(`# mine\n${native}\n`), 'key', answers()), [native]);
  for (const text of ['# nothing\n', 'somebody', native.slice(0, -3)]) {
    assert.throws(() => parseIdentities(text), { code: 'identity_invalid' });
    await assert.rejects(unlockIdentities(Buffer.from(text), 'key', answers()), { code: 'identity_invalid' });
  }
});

test('after three wrong passphrases it is over, and no error quotes one', async (t) => {
  if (!requireCommand(t, 'ssh-keygen')) return;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const locked = { format: 'pem', cipher: 'aes-256-cbc', passphrase } as const;
  const openssh = fs.readFileSync(sshKeygen('thrice', '-b', '2048', '-a', '1', '-N', passphrase));
  for (const file of [
    Buffer.from(privateKey.export({ type: 'pkcs8', ...locked })),
    Buffer.from(privateKey.export({ type: 'pkcs1', ...locked })),
    openssh,
  ]) {
    const ask = answers('hunter2', 'hunter2', 'hunter2', passphrase);
    await assert.rejects(unlockIdentities(file, 'key', ask), (error: Error & { code: string }) => {
      assert.equal(error.code, 'passphrase_wrong');
      assert.doesNotMatch(String(error.stack) + JSON.stringify(error), /hunter2/);
      return true;
    });
    assert.equal(ask.asked.length, 3);
  }
});

test('a locked OpenSSH key cut or changed anywhere is refused or still a key, never a crash', (t) => {
  if (!requireCommand(t, 'ssh-keygen')) return;
  sshKeygen('to-damage', '-b', '2048', '-a', '1', '-N', passphrase);
  const body = Buffer.from(read('to-damage').split('\n').slice(1, -2).join(''), 'base64');
  const wrap = (bytes: Buffer) =>
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----`;
  // The number of rounds in the header is 1: a changed byte of it would only make the test slow.
  const roundsAt = body.indexOf('bcrypt') + 6 + 4 + 4 + 16;
  for (let at = 0; at < body.length; at += 61) {
    const changed = Buffer.from(body);
    if (at < roundsAt || at >= roundsAt + 4) changed[at]! ^= 0x81;
    for (const bytes of [body.subarray(0, at), changed]) {
      try {
        opensshKey(wrap(bytes), 1, passphrase);
      } catch (error) {
        assert.match((error as { code: string }).code, /^(identity_|passphrase_)/);
      }
    }
  }
});

test('a file that is not a key is not read as one', async () => {
  const file = write('noise', randomBytes(5000));
  await assert.rejects(unlockIdentities(fs.readFileSync(file), 'key', answers()), { code: 'identity_invalid' });
});
