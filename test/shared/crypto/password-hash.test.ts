import assert from 'node:assert/strict';
import { scryptSync } from 'node:crypto';
import { test } from 'node:test';
import { hashPassword, isPassword, parsePasswordHash } from '../../../shared/crypto/password-hash.ts';

test('a password is that of its hash alone, however its letters are composed', async () => {
  const text = await hashPassword('Grüße aus 1234');
  const hash = parsePasswordHash(text)!;
  assert.equal(await isPassword('Grüße aus 1234', hash), true);
  assert.equal(await isPassword('Grüße aus 1234'.normalize('NFD'), hash), true);
  for (const other of ['', 'grüße aus 1234', 'Grüße aus 1234 ']) assert.equal(await isPassword(other, hash), false);
  assert.notEqual(await hashPassword('Grüße aus 1234'), text, 'each has a salt of its own');
});

test('a hash that another tool made is understood', async () => {
  const salt = Buffer.from('a salt of 16 b.!');
  const unpadded = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '');
  const hash = scryptSync('a password of mine', salt, 32, { N: 2 ** 16, r: 8, p: 1, maxmem: 2 ** 28 });
  const parsed = parsePasswordHash(`$scrypt$ln=16,r=8,p=1$${unpadded(salt)}$${unpadded(hash)}`)!;
  assert.equal(await isPassword('a password of mine', parsed), true);
});

test('what is no hash, is too cheap to guess or takes too much memory is none', () => {
  const rest = `${'A'.repeat(22)}$${'A'.repeat(43)}`;
  for (const text of [
    'a password',
    '',
    `$scrypt$ln=15,r=8,p=1$${'A'.repeat(22)}`,
    `$scrypt$ln=10,r=8,p=1$${rest}`,
    `$scrypt$ln=19,r=8,p=1$${rest}`,
    `$scrypt$ln=15,r=8,p=0$${rest}`,
    `$scrypt$ln=15,r=8,p=99$${rest}`,
    `$argon2id$ln=15,r=8,p=1$${rest}`,
  ]) {
    assert.equal(parsePasswordHash(text), undefined, text);
  }
  assert.notEqual(parsePasswordHash(`$scrypt$ln=15,r=8,p=1$${rest}`), undefined);
});
