import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { readSigner, readVerifyingKeys } from '../../../shared/crypto/signing.ts';
import { requireCommand } from '../../require-service.ts';
import { run, write } from './keys.ts';

const pkcs8 = { type: 'pkcs8', format: 'pem' } as const;
const spki = { type: 'spki', format: 'pem' } as const;
const body = Buffer.from('{"format":"daybook-manifest/1"}');

// RFC 8032, section 7.1, test 3, after the fixed beginnings of PKCS#8 and SPKI.
const base64 = (hex: string) => Buffer.from(hex, 'hex').toString('base64');
const rfcPrivate = base64(
  '302e020100300506032b657004220420c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
);
const rfcPublic = base64('302a300506032b6570032100fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025');
const rfcSignature =
  '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a';
const pem = (label: string, content: string) => `-----BEGIN ${label}-----\n${content}\n-----END ${label}-----\n`;

test('the signature of the RFC comes out, and its public key takes it', async () => {
  const signer = readSigner(pem('PRIVATE KEY', rfcPrivate));
  const message = Buffer.from('af82', 'hex');
  const signature = Buffer.from(rfcSignature, 'hex').toString('base64');
  assert.equal(await signer.sign(message), signature);
  const keys = readVerifyingKeys(pem('PUBLIC KEY', rfcPublic));
  assert.deepEqual([...keys.keys()], [signer.keyId]);
  assert.ok(keys.get(signer.keyId)!.verify(message, signature));
  assert.ok(signer.verify(message, signature));
});

test('openssl makes the keys, names them by the same id and checks the signature', async (t) => {
  if (!requireCommand(t, 'openssl') || !requireCommand(t, 'sha256sum')) return;
  const privatePem = run('openssl', ['genpkey', '-algorithm', 'ed25519']);
  const publicPem = run('openssl', ['pkey', '-pubout'], privatePem);
  const signer = readSigner(privatePem.toString());
  const der = run('openssl', ['pkey', '-pubin', '-outform', 'DER'], publicPem);
  assert.equal(signer.keyId, run('sha256sum', [], der).toString().slice(0, 16));
  const files = [write('pub.pem', publicPem), write('body', body)] as const;
  const sig = write('sig', Buffer.from(await signer.sign(body), 'base64'));
  run('openssl', ['pkeyutl', '-verify', '-pubin', '-inkey', files[0], '-rawin', '-in', files[1], '-sigfile', sig]);

  const made = run('openssl', ['pkeyutl', '-sign', '-inkey', write('key.pem', privatePem), '-rawin', '-in', files[1]]);
  assert.ok(readVerifyingKeys(publicPem.toString()).get(signer.keyId)!.verify(body, made.toString('base64')));
});

test('each of several public keys verifies its own signatures alone', async () => {
  const pairs = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
  const signers = pairs.map((pair) => readSigner(pair.privateKey.export(pkcs8).toString()));
  const keys = readVerifyingKeys(pairs.map((pair) => `# a key\n${pair.publicKey.export(spki)}`).join('\n'));
  assert.equal(keys.size, 2);
  for (const signer of signers) {
    const signature = await signer.sign(body);
    for (const [keyId, { verify }] of keys) assert.equal(verify(body, signature), keyId === signer.keyId);
  }
});

test('a signature that is changed, cut, empty or written otherwise does not hold', async () => {
  const signer = readSigner(pem('PRIVATE KEY', rfcPrivate));
  const signature = await signer.sign(body);
  const others = ['', 'x', signature.slice(0, -2), signature.slice(0, -4), ` ${signature}`, `${signature}\n`];
  others.push(
    signature.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')),
    `${signature.slice(0, 40)}-${signature.slice(40)}`,
  );
  for (const verify of [signer.verify, signer.verify.beside]) {
    for (const other of others) assert.equal(await verify(body, other), false);
    assert.equal(await verify(Buffer.concat([body, Buffer.from(' ')]), signature), false);
    assert.equal(await verify(body, signature), true);
  }
});

test('line feeds that came as the two characters \\n, or as CR LF, are taken', () => {
  const [key, halves] = [pem('PRIVATE KEY', rfcPrivate), pem('PUBLIC KEY', rfcPublic)];
  const keyId = readSigner(key).keyId;
  for (const from of ['\\n', '\r\n', '\n  ']) {
    assert.equal(readSigner(key.replaceAll('\n', from)).keyId, keyId);
    assert.ok(readVerifyingKeys((halves + halves).replaceAll('\n', from)).has(keyId));
  }
});

test('keys of another kind are refused with what they are, and never quoted', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ed25519 = generateKeyPairSync('ed25519');
  const privatePem = ed25519.privateKey.export(pkcs8).toString();
  const publicPem = ed25519.publicKey.export(spki).toString();
  const locked = ed25519.privateKey.export({ ...pkcs8, cipher: 'aes-256-cbc', passphrase: 'x' }).toString();
  const signing: [text: string, detail: RegExp][] = [
    ['', /one PEM block/],
    [privatePem + privatePem, /one PEM block/],
    [publicPem, /must be a PEM of PRIVATE KEY, this is a PEM of PUBLIC KEY/],
    [locked, /this is a PEM of ENCRYPTED PRIVATE KEY/],
    ['secret', /this is not PEM/],
    [pem('PRIVATE KEY', 'AAAA'), /cannot be read/],
    [rsa.privateKey.export(pkcs8).toString(), /must be Ed25519, this is rsa/],
    [generateKeyPairSync('x25519').privateKey.export(pkcs8).toString(), /must be Ed25519, this is x25519/],
  ];
  for (const [text, message] of signing) assert.throws(() => readSigner(text), { code: 'key_invalid', message });
  const verifying: [text: string, detail: RegExp][] = [
    ['# none', /hold no PEM block/],
    [`${publicPem}${privatePem}`, /on line 4 must be a PEM of PUBLIC KEY, this is a PEM of PRIVATE KEY/],
    [rsa.publicKey.export(spki).toString(), /must be Ed25519, this is rsa/],
    [`${publicPem}junk`, /on line 4 .* this is not PEM/],
  ];
  for (const [text, message] of verifying)
    assert.throws(() => readVerifyingKeys(text), { code: 'key_invalid', message });
});

test('keys as JSON have the manifests that they may have signed', () => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const key = publicKey.export(spki).toString();
  const [[, found] = []] = readVerifyingKeys(JSON.stringify([{ key, from: 3, until: 120 }]));
  assert.deepEqual([found?.from, found?.until], [3, 120]);
  const [[, open] = []] = readVerifyingKeys(` ${JSON.stringify([{ key }])}`);
  assert.deepEqual([open?.from, open?.until], [undefined, undefined]);
  for (const wrong of [
    '[',
    '[]',
    '[7]',
    '[{}]',
    JSON.stringify([{ key, from: 0 }]),
    JSON.stringify([{ key, to: 1 }]),
  ]) {
    assert.throws(() => readVerifyingKeys(wrong), { code: 'key_invalid' });
  }
});
