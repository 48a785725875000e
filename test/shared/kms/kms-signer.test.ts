/** Manifests signed in a KMS (test/services/kms.sh), read and audited by the public key alone, as any others. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  CreateAliasCommand,
  CreateKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  GetPublicKeyCommand,
  type KeySpec,
  KMSClient,
} from '@aws-sdk/client-kms';
import { isOfArchive, readCheckpoint, signCheckpoint } from '../../../compactor/anchors/checkpoint.ts';
import { leafHash, rootOf } from '../../../compactor/anchors/tree.ts';
import { openSigner } from '../../../compactor/configuration.ts';
import { manifestKey } from '../../../compactor/ledger/manifest.ts';
import { addDays } from '../../../shared/clock.ts';
import { readSigner, readVerifyingKeys, type Signer } from '../../../shared/crypto/signing.ts';
import { openKmsSigner } from '../../../shared/kms/kms-signer.ts';
import { eventsOf, pathOf, signedRecord, verify } from '../../compactor/archive-under-test.ts';
import { type Books, openBooks } from '../../compactor/books.ts';
import { complaints, mainPath, openPatient } from '../../compactor/doctor/doctor-under-test.ts';
import { type HttpProxy, type ProxyHandler, startHttpProxy } from '../../faults/http-proxy.ts';
import { startService } from '../../services/service.ts';

const run = promisify(execFile);
const service = await startService<{ endpoint: string }>('kms.sh');

if (service !== undefined) {
  let proxy: HttpProxy;
  let client: KMSClient;
  let books: Books;
  let key: string;
  let publicPem: string;
  const alias = 'alias/daybook';
  const aws = () => ({
    ...{ AWS_ENDPOINT_URL_KMS: proxy.endpoint, AWS_REGION: 'us-east-1' },
    ...{ AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'testsecret' },
  });
  /** Refuses what AWS refuses, and this server does not. */
  const asAws: ProxyHandler = async ({ headers, body }, forward) => {
    if (headers['x-amz-target'] === 'TrentService.Sign') {
      const { Message } = JSON.parse(body.toString());
      if (Buffer.from(Message, 'base64').length > 4096) {
        return { status: 400, body: '{"__type":"ValidationException","message":"4096"}' };
      }
    }
    return forward();
  };

  async function makeKey(spec: KeySpec): Promise<string> {
    const { KeyMetadata } = await client.send(new CreateKeyCommand({ KeySpec: spec, KeyUsage: 'SIGN_VERIFY' }));
    return KeyMetadata!.KeyId!;
  }

  before(async () => {
    proxy = await startHttpProxy(service.facts.endpoint);
    proxy.decide(asAws);
    Object.assign(process.env, aws());
    client = new KMSClient();
    books = await openBooks();
    key = await makeKey('ECC_NIST_EDWARDS25519');
    await client.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: key }));
    const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: key }));
    publicPem = `-----BEGIN PUBLIC KEY-----\n${Buffer.from(PublicKey!).toString('base64')}\n-----END PUBLIC KEY-----\n`;
  });
  after(async () => {
    client.destroy();
    await books.close();
    await proxy.close();
    await service.stop();
  });

  const localPem = () => spawnSync('openssl', ['pkey', '-pubout'], { input: books.signingKey }).stdout.toString();
  const keys = () => readVerifyingKeys(publicPem + localPem());

  async function night(signer: Signer, from: string, days: number): Promise<void> {
    for (let each = 0; each < days; each += 1) {
      await books.deliver(...eventsOf(addDays(from, each), 2, `${from} ${each}`).map((event) => signedRecord(event)));
    }
    books.at(`${addDays(from, days + 1)}T03:00:00Z`);
    const { errors, manifest } = await books.night([{ name: 'platform' }], { signer, verifyingKeys: keys() });
    assert.deepEqual([errors, manifest !== null], [[], true]);
  }

  function audit() {
    const file = join(books.directory, 'keys.pem');
    fs.writeFileSync(file, publicPem + localPem());
    const script = fileURLToPath(new URL('../../../deploy/audit.sh', import.meta.url));
    return spawnSync('sh', [script, books.archive, file], { encoding: 'utf8' });
  }

  test('a local key, then a key in KMS: the chain goes on, and verify and the audit script hold it by public keys alone', async () => {
    await night(readSigner(books.signingKey), '2026-11-01', 1);
    const signer = await openSigner(`awskms:///${alias}`, keys());
    // More than KMS signs at once.
    await night(signer, '2026-11-03', 8);
    await night(signer, '2026-11-12', 1);
    const sizes = [1, 2, 3].map((number) => fs.readFileSync(pathOf(books, manifestKey('', number))).indexOf(0x0a));
    assert.ok(sizes[1]! > 4096, String(sizes));
    const signed = await Promise.all([1, 2, 3].map(async (number) => (await books.manifest(number)).signed));
    assert.deepEqual(signed, [undefined, 'sha256', 'sha256']);
    const report = await verify(books, { verifyingKeys: keys() });
    assert.deepEqual([report.breaks, report.manifests], [[], 3]);
    const { status, stdout, stderr } = audit();
    assert.deepEqual([status, stderr], [0, ''], stdout);

    // A byte of what is signed, and a claim that the line itself is.
    const path = pathOf(books, manifestKey('', 3));
    const whole = fs.readFileSync(path, 'utf8');
    for (const [from, to] of [
      ['"format":', '"firmat":'],
      [',"signed":"sha256"', ''],
    ] as const) {
      fs.writeFileSync(path, whole.replace(from, to));
      assert.notEqual(fs.readFileSync(path, 'utf8'), whole);
      const broken = await verify(books, { verifyingKeys: keys() });
      assert.deepEqual(
        broken.breaks.map(({ code, manifest }) => [code, manifest]),
        [['ledger_broken', 3]],
      );
      assert.equal(audit().status, 3);
    }
    fs.writeFileSync(path, whole);
    const note = readCheckpoint(await signCheckpoint('daybook.test', 1, rootOf([leafHash('00')]), signer));
    assert.equal(isOfArchive(note, readVerifyingKeys(publicPem)), true);
  });

  test('a key that does not sign, is of another kind, or whose public half does not count, is told as such', async () => {
    await assert.rejects(openKmsSigner(await makeKey('ECC_NIST_P256'), proxy.endpoint), {
      code: 'key_invalid',
      message: /is of ECC_NIST_P256: it must be ECC_NIST_EDWARDS25519/,
    });
    await assert.rejects(openKmsSigner('alias/none', proxy.endpoint), {
      code: 'signing_failed',
      retry: false,
      message: /alias\/none/,
    });
    const other = await makeKey('ECC_NIST_EDWARDS25519');
    await assert.rejects(openSigner(`awskms:///${other}`, keys()), {
      code: 'key_invalid',
      message: /lacks the public half of /,
      hint: /aws kms get-public-key --key-id /,
    });
    // Set to nothing is not set.
    Object.assign(process.env, { AWS_ENDPOINT_URL_KMS: '', AWS_ENDPOINT_URL: proxy.endpoint });
    const signer = await openSigner(`awskms:///${key}`, keys());
    await client.send(new DisableKeyCommand({ KeyId: key }));
    await assert.rejects(signer.sign(Buffer.from('x')), { code: 'signing_failed', retry: false, message: /Disabled/ });
    await client.send(new EnableKeyCommand({ KeyId: key }));
    // What a server says that has another key under this name.
    proxy.decide(async ({ headers, body }, forward) =>
      headers['x-amz-target'] === 'TrentService.Sign'
        ? forward(Buffer.from(body.toString().replaceAll(key, other)))
        : forward(),
    );
    await assert.rejects(signer.sign(Buffer.from('x')), { code: 'signing_failed', message: /not a signature by/ });
    proxy.decide(async () => ({ status: 500, body: '{}' }));
    await assert.rejects(signer.sign(Buffer.from('x')), { code: 'signing_failed', retry: true, message: /HTTP 500/ });
    proxy.decide(asAws);
    await assert.rejects(openKmsSigner(key, 'http://127.0.0.1:1'), {
      ...{ code: 'signing_failed', retry: true, message: /ECONNREFUSED/ },
    });
  });

  test('the programs: doctor signs once, a night is signed in KMS, and verify needs no KMS', async () => {
    const patient = await openPatient();
    try {
      const own = spawnSync('openssl', ['pkey', '-pubout'], { input: patient.books.signingKey }).stdout.toString();
      const change = {
        ...{ ...aws(), COMPACTOR_SIGNING_KEY_FILE: '', COMPACTOR_SIGNING_KEY: `awskms:///${alias}` },
        COMPACTOR_VERIFYING_KEYS: own + publicPem,
      };
      const { findings } = await patient.doctor(change);
      assert.deepEqual(complaints(findings), []);
      const said = findings.map(({ message }) => message).join('\n');
      assert.match(said, /^manifests are signed by the Ed25519 key [0-9a-f]{16}, which is in a KMS, and signs$/m);
      assert.match(said, /; the next will be signed by [0-9a-f]{16}$/m);
      const unset = await patient.doctor({ ...change, COMPACTOR_VERIFYING_KEYS: '' });
      assert.match(
        complaints(unset.findings)[0]!,
        /COMPACTOR_VERIFYING_KEYS: is required where the signing key is in a KMS/,
      );

      const env = Object.entries({ PATH: process.env.PATH, ...patient.environment, ...change });
      const options = {
        cwd: patient.books.directory,
        env: Object.fromEntries(env.filter(([, value]) => value !== '')),
      };
      await run(process.execPath, [mainPath, 'run', '--force'], options);
      const manifest = await patient.books.manifest(3);
      assert.deepEqual([manifest.number, manifest.signed], [3, 'sha256']);
      const asked = proxy.requests.length;
      const { stdout } = await run(process.execPath, [mainPath, 'verify'], options);
      assert.match(stdout, /^OK: 3 manifests/m);
      assert.equal(proxy.requests.length, asked);
    } finally {
      await patient.close();
    }
  });
}
