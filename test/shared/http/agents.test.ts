/** Stripe, S3 and Kinesis through a forward proxy, which here tunnels (CONNECT) and passes plain requests on. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { openStripeRequests } from '../../../compactor/stripe/requests.ts';
import { openAgents } from '../../../shared/http/agents.ts';
import { openS3Client } from '../../../shared/store/s3/client.ts';
import { describeStream, openKinesisClient, readerTimeouts } from '../../../shared/stream/kinesis/client.ts';

const names = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'NO_PROXY', 'no_proxy'] as const;
const others = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] as const;
const environmentBefore = [...names, ...others].map((name) => [name, process.env[name]] as const);
const folder = mkdtempSync(join(tmpdir(), 'daybook-proxy-'));
const certificatesBefore = getCACertificates('default');
/** What the proxy was asked for. */
const asked: string[] = [];
let proxy: string;
let secure: string;
let plain: string;
const close: (() => void)[] = [];

/** Answers as each of the three services, as far as its client asks here. */
function answer({ headers }: IncomingMessage, response: ServerResponse) {
  const StreamDescriptionSummary = {
    StreamStatus: 'ACTIVE',
    StreamARN: 'arn',
    StreamName: 'events',
    OpenShardCount: 1,
  };
  if (headers['x-amz-target'] !== undefined) {
    response.setHeader('content-type', 'application/x-amz-json-1.1').end(JSON.stringify({ StreamDescriptionSummary }));
  } else response.end('{"data":[]}');
}

before(async () => {
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  const subject = ['-subj', '/CN=service.test', '-addext', 'subjectAltName=DNS:service.test'];
  const kind = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  execFileSync('openssl', [...kind, '-keyout', key, '-out', certificate, ...subject], { stdio: 'ignore' });
  setDefaultCACertificates([...certificatesBefore, readFileSync(certificate, 'utf8')]);
  const httpsServer = createHttpsServer({ key: readFileSync(key), cert: readFileSync(certificate) }, answer);
  const httpServer = createHttpServer(answer);
  // Names end in .test: who is asked for them without the proxy cannot be reached.
  const proxyServer = createHttpServer((incoming, outgoing) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    const { headers, method } = incoming;
    const { port } = httpServer.address() as AddressInfo;
    incoming.pipe(
      request({ host: '127.0.0.1', port, method, headers, path: '/' }, (got) => {
        outgoing.writeHead(got.statusCode!, got.headers);
        got.pipe(outgoing);
      }),
    );
  });
  proxyServer.on('connect', ({ url }: IncomingMessage, client: Socket) => {
    asked.push(`CONNECT ${url}`);
    const server = connect((httpsServer.address() as AddressInfo).port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      server.pipe(client).pipe(server);
    });
    for (const end of [client, server])
      end.on('error', () => {}).on('close', () => client.destroy() && server.destroy());
  });
  for (const server of [httpsServer, httpServer, proxyServer]) {
    await once(server.listen(0, '127.0.0.1'), 'listening');
    close.push(() => server.close().closeAllConnections());
  }
  secure = 'https://service.test';
  plain = 'http://service.test:9000';
  proxy = `http://127.0.0.1:${(proxyServer.address() as AddressInfo).port}`;
  process.env.AWS_ACCESS_KEY_ID = 'test';
  process.env.AWS_SECRET_ACCESS_KEY = 'test';
});
beforeEach(() => {
  asked.length = 0;
  for (const name of names) delete process.env[name];
});
after(() => {
  for (const end of close) end();
  for (const [name, value] of environmentBefore) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  setDefaultCACertificates(certificatesBefore);
  rmSync(folder, { recursive: true });
});

const timeouts = { connectMs: 2_000, idleMs: 2_000 };

async function askStripe(endpoint: string): Promise<void> {
  const stripe = openStripeRequests({ apiKey: 'sk_test_x', base: new URL(endpoint), timeoutMs: 5_000 });
  try {
    assert.deepEqual((await stripe.get('/v1/events', undefined)).text, '{"data":[]}');
  } finally {
    stripe.close();
  }
}

async function askS3(endpoint: string): Promise<void> {
  const client = openS3Client({ bucket: 'archive', region: 'eu-west-1', endpoint, forcePathStyle: true }, timeouts);
  try {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: 'archive', Key: 'a' }));
    assert.equal(await Body?.transformToString(), '{"data":[]}');
  } finally {
    client.destroy();
  }
}

async function askKinesis(endpoint: string): Promise<void> {
  const params = { streamName: 'events', region: 'eu-west-1', endpoint };
  const client = openKinesisClient(params, readerTimeouts);
  try {
    assert.equal((await describeStream(client, params)).StreamARN, 'arn');
  } finally {
    client.destroy();
  }
}

for (const [service, ask] of Object.entries({ Stripe: askStripe, S3: askS3, Kinesis: askKinesis })) {
  test(`${service} is asked through HTTPS_PROXY, in lower case too, by a tunnel that the proxy cannot look into`, async () => {
    for (const name of ['HTTPS_PROXY', 'https_proxy'] as const) {
      process.env[name] = proxy;
      await ask(secure);
      delete process.env[name];
      assert.deepEqual(asked.splice(0), ['CONNECT service.test:443']);
    }
  });

  test(`${service} is asked directly where NO_PROXY names its host, or a domain above it`, async () => {
    process.env.HTTPS_PROXY = proxy;
    for (const name of ['service.test', '.test', '*']) {
      process.env.NO_PROXY = name;
      await assert.rejects(ask(secure), 'such a host does not exist');
    }
    assert.deepEqual(asked, []);
  });
}

test('plain http goes through HTTP_PROXY, but for that to this machine', async () => {
  process.env.HTTP_PROXY = proxy;
  for (const ask of [askS3, askKinesis]) await ask(plain);
  assert.deepEqual(
    asked.splice(0).map((line) => line.split(' ')[1]!.startsWith(plain)),
    [true, true],
  );
  const server = createHttpServer(answer);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const local = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const ask of [askStripe, askS3, askKinesis]) await ask(local);
  server.close().closeAllConnections();
  assert.deepEqual(asked, []);
});

test("a proxy that cannot be used is a fault of the configuration, told without the proxy's password", () => {
  for (const value of ['socks5://user:secret@127.0.0.1:1080', 'secret@127.0.0.1:3128', 'http://']) {
    process.env.HTTPS_PROXY = value;
    assert.throws(() => openAgents(undefined), {
      code: 'configuration_invalid',
      message: 'HTTPS_PROXY: must be an http:// or https:// URL of a proxy',
    });
  }
  process.env.HTTPS_PROXY = '';
  openAgents(undefined);
});
