/** The Kafka driver against a broker that wants TLS, a password, and permission for everything. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { sign } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import kafkajs, { type AclEntry } from 'kafkajs';
import { DaybookError } from '../../../../shared/errors.ts';
import { openKafkaReader } from '../../../../shared/stream/kafka/reader.ts';
import type { KafkaParams } from '../../../../shared/stream/kafka/settings.ts';
import { openKafkaWriter } from '../../../../shared/stream/kafka/writer.ts';
import { streamSchema } from '../../../../shared/stream/streams.ts';
import { readAll, record, valuesOf } from '../../../contract/event-stream.ts';
import { startService } from '../../../services/service.ts';
import { createTopic, logLines, newTopicName, withTestAdmin } from './kafka-under-test.ts';

interface Facts {
  /** TLS with SASL. */
  readonly broker: string;
  /** Neither; may do everything. */
  readonly plaintext: string;
  /** Path of the authority's certificate. */
  readonly ca: string;
  /** Path of the key that signs tokens which the broker takes. */
  readonly tokenKey: string;
}

const kafka = await startService<Facts>('kafka-tls.sh');
if (kafka !== undefined) {
  after(() => kafka.stop());
  securityTests(kafka.facts);
}

function securityTests({ broker, plaintext, ca, tokenKey }: Facts): void {
  const app = { mechanism: 'scram-sha-256', username: 'app', password: 'app-secret' } as const;
  const reader = { mechanism: 'plain', username: 'reader', password: 'reader-secret' } as const;

  async function topicAndLog(t: TestContext) {
    const topic = newTopicName();
    await createTopic([plaintext], { topic, numPartitions: 2 });
    t.after(() => withTestAdmin([plaintext], (admin) => admin.deleteTopics({ topics: [topic] })));
    return { topic, ...logLines() };
  }
  /** As the environment would give it. */
  const paramsOf = (given: object): KafkaParams => {
    const stream = streamSchema.parse({ type: 'kafka', params: given });
    assert.ok(stream.type === 'kafka');
    return stream.params;
  };
  async function failureOf(t: TestContext, given: Partial<KafkaParams>): Promise<DaybookError> {
    const { topic, log, lines } = await topicAndLog(t);
    const params = { brokers: [broker], topic, ...given };
    const failures = await Promise.all(
      [() => openKafkaWriter({ params, log }), () => openKafkaReader({ params, consumer: 'c', log })].map((open) =>
        open().then(
          () => assert.fail('it opened'),
          (error: unknown) => error,
        ),
      ),
    );
    for (const failure of failures) {
      assert.ok(failure instanceof DaybookError);
      const all = JSON.stringify([failure.message, failure.hint, String(failure.cause), lines]);
      assert.doesNotMatch(all, /wrong-secret|app-secret|reader-secret|eyJ/);
    }
    const [ofWriter, ofReader] = failures as [DaybookError, DaybookError];
    assert.equal(ofReader.code, ofWriter.code);
    return ofWriter;
  }

  for (const mechanism of ['scram-sha-256', 'plain'] as const) {
    test(`Kafka: events go through TLS with ${mechanism}`, async (t) => {
      const { topic, log } = await topicAndLog(t);
      // The certificate as a path and as text.
      for (const authority of [ca, readFileSync(ca, 'utf8')]) {
        const params = paramsOf({ brokers: [broker], topic, ssl: { ca: authority }, sasl: { ...app, mechanism } });
        const writer = await openKafkaWriter({ params, log });
        await writer.append([record('a', mechanism)]);
        await writer.probe();
        await writer.close();
        const eyes = await openKafkaReader({ params, consumer: 'compactor', log });
        await eyes.commit(new Map([['0', 1n]]));
        assert.deepEqual([...(await eyes.committed())], [['0', 1n]]);
        assert.ok(valuesOf(await readAll(eyes)).every((value) => String(value) === mechanism));
        await eyes.close();
      }
    });
  }

  for (const mechanism of ['scram-sha-256', 'plain'] as const) {
    test(`Kafka: a wrong password is told as such (${mechanism})`, async (t) => {
      const sasl = { mechanism, username: 'app', password: 'wrong-secret' } as const;
      const error = await failureOf(t, { ssl: { ca: readFileSync(ca, 'utf8') }, sasl });
      assert.equal(error.code, 'stream_credentials_refused');
      assert.match(error.message, new RegExp(`app by ${mechanism}`));
    });
  }

  test('Kafka: a mechanism that the brokers do not have is told as such', async (t) => {
    const sasl = { ...app, mechanism: 'scram-sha-512' } as const;
    const error = await failureOf(t, { ssl: { ca: readFileSync(ca, 'utf8') }, sasl });
    assert.equal(error.code, 'stream_credentials_refused');
    assert.match(error.message, /SCRAM-SHA-512/i);
  });

  const tokens = { key: readFileSync(tokenKey, 'utf8'), audience: 'daybook-tests', clientSecret: 'app-secret' };

  test('Kafka: events go through with tokens of an OAuth server, and one token serves several connections', async (t) => {
    const { topic, log } = await topicAndLog(t);
    const server = await startTokenServer(t, tokens);
    const sasl = {
      mechanism: 'oauthbearer',
      tokenEndpoint: server.url,
      clientId: 'app',
      clientSecret: 'app-secret',
      scope: 'write',
    };
    const params = paramsOf({ brokers: [broker], topic, ssl: { ca }, sasl });
    const writer = await openKafkaWriter({ params, log });
    await writer.append([record('a', 'one')]);
    await writer.probe();
    await writer.close();
    assert.deepEqual(server.scopes, ['write'], 'asked once');
    const eyes = await openKafkaReader({ params, consumer: 'compactor', log });
    assert.deepEqual(valuesOf(await readAll(eyes)).map(String), ['one']);
    await eyes.close();
  });

  test('Kafka: a token that somebody keeps fresh in a file is read at each connection', async (t) => {
    const { topic, log } = await topicAndLog(t);
    const path = join(await mkdtemp(join(tmpdir(), 'daybook-token-')), 'token');
    t.after(() => rm(dirname(path), { recursive: true }));
    const params = paramsOf({
      brokers: [broker],
      topic,
      ssl: { ca },
      sasl: { mechanism: 'oauthbearer', tokenFile: path },
    });
    await assert.rejects(openKafkaWriter({ params, log }), {
      code: 'stream_credentials_refused',
      message: /cannot be read/,
    });
    await writeFile(path, `${tokenOf(tokens)}\n`);
    const writer = await openKafkaWriter({ params, log });
    await writeFile(path, tokenOf({ ...tokens, audience: 'others' }));
    // A connection of its own for each look.
    await assert.rejects(writer.probe(), { code: 'stream_credentials_refused', message: /aud "others"/ });
    await writer.close();
  });

  test('Kafka: a refused token is told with what it says of itself, and a refused client with what the OAuth server says', async (t) => {
    const sasl = { mechanism: 'oauthbearer', clientId: 'app', clientSecret: 'app-secret' } as const;
    const ssl = { ca: readFileSync(ca, 'utf8') };
    const others = await startTokenServer(t, { ...tokens, audience: 'others' });
    const error = await failureOf(t, { ssl, sasl: { ...sasl, tokenEndpoint: others.url } });
    assert.equal(error.code, 'stream_credentials_refused');
    assert.match(
      error.message,
      /refuse the token: .*invalid_token.*iss "https:\/\/login.test", aud "others", sub "app"/,
    );
    assert.match(error.hint, /audience/);

    const { url } = await startTokenServer(t, tokens);
    const client = await failureOf(t, { ssl, sasl: { ...sasl, clientSecret: 'wrong-secret', tokenEndpoint: url } });
    assert.equal(client.code, 'stream_credentials_refused');
    assert.match(client.message, /gives no token: HTTP 401 invalid_client/);
    assert.match(client.hint, /clientSecret/);

    const nobody = await failureOf(t, { ssl, sasl: { ...sasl, tokenEndpoint: 'http://127.0.0.1:9/token' } });
    assert.deepEqual([nobody.code, nobody.retry], ['stream_unavailable', true]);
    assert.match(nobody.hint, /tokenEndpoint/);
  });

  test('Kafka: brokers that refuse a token for MSK hint at the role and the port', async (t) => {
    const given = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'wrong-secret' };
    const before = Object.keys(given).map((name) => [name, process.env[name]] as const);
    Object.assign(process.env, given);
    t.after(() => {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    });
    const sasl = { mechanism: 'aws-msk-iam', region: 'eu-west-1' } as const;
    const error = await failureOf(t, { ssl: { ca: readFileSync(ca, 'utf8') }, sasl });
    assert.equal(error.code, 'stream_credentials_refused');
    assert.match(error.message, /refuse the token: .*invalid_token/);
    assert.match(error.hint, /kafka-cluster:Connect/);
  });

  test("Kafka: without the authority's certificate there is no connection", async (t) => {
    const error = await failureOf(t, { ssl: true, sasl: app });
    assert.equal(error.code, 'stream_unavailable');
    assert.equal(error.retry, false);
    assert.match(error.message, /certificate/);
    assert.match(error.hint, /ssl\.ca/);
  });

  test('Kafka: a certificate that ran out is told as such, and may pass', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'daybook-expired-'));
    t.after(() => rm(folder, { recursive: true }));
    const files = { key: join(folder, 'key'), request: join(folder, 'request'), cert: join(folder, 'cert') };
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', files.key];
    openssl('req', ...newKey, '-subj', '/CN=localhost', '-out', files.request);
    const authority = ['-CA', ca, '-CAkey', join(dirname(ca), 'ca.key'), '-CAcreateserial'];
    openssl('x509', '-req', '-in', files.request, ...authority, '-days', '0', '-out', files.cert);
    const server = createTlsServer({ key: readFileSync(files.key), cert: readFileSync(files.cert) });
    server.on('tlsClientError', () => {}).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => void server.close());
    const brokers = [`localhost:${(server.address() as AddressInfo).port}`];
    const error = await failureOf(t, { brokers, ssl: { ca: readFileSync(ca, 'utf8') }, sasl: app });
    assert.deepEqual([error.code, error.retry], ['stream_unavailable', true]);
    assert.match(error.message, /certificate has expired/);
    assert.match(error.hint, /Renew/);
  });

  test('Kafka: TLS on the port without it, and the other way round, hint at TLS', async (t) => {
    const onPlain = await failureOf(t, { brokers: [plaintext], ssl: { ca: readFileSync(ca, 'utf8') } });
    assert.equal(onPlain.code, 'stream_unavailable');
    assert.match(onPlain.hint, /TLS/);
    const onSecured = await failureOf(t, { sasl: app });
    assert.equal(onSecured.code, 'stream_unavailable');
    assert.match(onSecured.hint, /TLS/);
  });

  test('Kafka: no credentials where the brokers ask for some hint at them', async (t) => {
    const error = await failureOf(t, { ssl: { ca: readFileSync(ca, 'utf8') } });
    assert.match(error.hint, /credentials|sasl/);
  });

  test('Kafka: what the user may not do is told with what to allow', async (t) => {
    const ssl = { ca: readFileSync(ca, 'utf8') };
    const nothing = await failureOf(t, { ssl, sasl: reader });
    assert.equal(nothing.code, 'stream_not_authorised');
    assert.match(nothing.message, /may not use topic/);
    assert.match(nothing.hint, /DescribeConfigs/);

    const { topic, log } = await topicAndLog(t);
    const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;
    const allow = (operation: kafkajs.AclOperationTypes): AclEntry => ({
      resourceType: AclResourceTypes.TOPIC,
      resourceName: topic,
      resourcePatternType: ResourcePatternTypes.LITERAL,
      principal: 'User:reader',
      host: '*',
      operation,
      permissionType: AclPermissionTypes.ALLOW,
    });
    const allowing = (operation: kafkajs.AclOperationTypes) =>
      withTestAdmin([plaintext], (admin) => admin.createAcls({ acl: [allow(operation)] }));
    const params: KafkaParams = { brokers: [broker], topic, ssl, sasl: reader };
    await allowing(AclOperationTypes.DESCRIBE_CONFIGS);
    await allowing(AclOperationTypes.DESCRIBE);
    const writer = await openWhenAllowed(() => openKafkaWriter({ params, log }));
    await assert.rejects(writer.append([record('a', 'one')]), /may not use topic/);
    await allowing(AclOperationTypes.WRITE);
    // The same writer goes on as soon as it is allowed.
    await openWhenAllowed(() => writer.append([record('a', 'one')]));
    await writer.close();

    await allowing(AclOperationTypes.READ);
    const eyes = await openKafkaReader({ params, consumer: 'compactor', log });
    const read = await openWhenAllowed(() => readAll(eyes));
    assert.deepEqual(valuesOf(read).map(String), ['one']);
    await assert.rejects(
      eyes.commit(new Map([['0', 1n]])),
      (error) => error instanceof DaybookError && error.code === 'stream_not_authorised' && /groups/.test(error.hint),
    );
    await eyes.close();
  });

  test('Kafka: a topic that may not be created is told as such', async () => {
    const { log } = logLines();
    const ssl = { ca: readFileSync(ca, 'utf8') };
    const create = { partitions: 1, replicationFactor: 1 };
    const params: KafkaParams = { brokers: [broker], topic: newTopicName(), ssl, sasl: reader, create };
    await assert.rejects(
      openKafkaWriter({ params, log }),
      (error) => error instanceof DaybookError && error.code === 'stream_not_authorised',
    );
  });
}

/** Permissions take a moment until the broker knows them. */
async function openWhenAllowed<T>(open: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await open();
    } catch (error) {
      if (tries === 50) throw error;
    }
  }
}

interface TokenOptions {
  readonly key: string;
  readonly audience: string;
}

/** A JWT that is good for a minute, RFC 7515 by hand. */
function tokenOf({ key, audience }: TokenOptions): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: 'https://login.test', sub: 'app', aud: audience, scope: 'write', iat: now, exp: now + 60 };
  const parts = [{ alg: 'RS256', kid: 'tests' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  );
  return `${parts.join('.')}.${sign('sha256', Buffer.from(parts.join('.')), key).toString('base64url')}`;
}

/** An OAuth server that knows one client, `app`. `scopes`: what was asked for. */
async function startTokenServer(t: TestContext, options: TokenOptions & { readonly clientSecret: string }) {
  const scopes: (string | null)[] = [];
  const server = createServer(async (request, response) => {
    const form = new URLSearchParams((await request.toArray()).join(''));
    const isKnown =
      request.headers.authorization === `Basic ${Buffer.from(`app:${options.clientSecret}`).toString('base64')}`;
    scopes.push(form.get('scope'));
    assert.equal(form.get('grant_type'), 'client_credentials');
    response
      .writeHead(isKnown ? 200 : 401, { 'content-type': 'application/json' })
      .end(
        JSON.stringify(
          isKnown
            ? { access_token: tokenOf(options), token_type: 'bearer', expires_in: 60 }
            : { error: 'invalid_client' },
        ),
      );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, scopes };
}
