/** Two ingests beside each other, whose public key is at a URL and changes: each reads for itself. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { listen } from '../../../shared/http/listen.ts';
import { startIngestProcess } from '../ingest-process.ts';
import { post, serverEvent, until } from '../ingest-under-test.ts';
import { cookieName, cookieOf, cookieSource, type Issuer, newIssuer, origin } from '../login-cookie.ts';

const directory = mkdtempSync(join(tmpdir(), 'daybook-keys-'));
after(() => rmSync(directory, { recursive: true }));

const first = newIssuer();
const second = newIssuer();
let answer: { status: number; body: string } = { status: 200, body: `publicKey=${first.base64}` };
const server = createServer((_, response) => response.writeHead(answer.status).end(answer.body));
const { port } = await listen(server, '127.0.0.1', 0, 'test');
after(() => server.close());
const source = cookieSource(first, { publicKeys: [{ url: `http://127.0.0.1:${port}/key` }] });

async function start(t: TestContext) {
  const data = mkdtempSync(join(directory, 'data-'));
  const environment = { DAYBOOK_SOURCES: JSON.stringify([source]), INGEST_PORT: '0', DAYBOOK_DATA_DIR: data };
  const ingest = await startIngestProcess({ cwd: directory, environment });
  t.after(async () => {
    ingest.process.kill('SIGTERM');
    assert.deepEqual(await ingest.exited, [0, null]);
  });
  return {
    data,
    environment,
    async statusOf(issuer: Issuer) {
      const headers = { 'content-type': 'application/json', origin, cookie: `${cookieName}=${cookieOf(issuer)}` };
      const { status, json } = await post(`${ingest.url}/events`, headers, JSON.stringify(serverEvent()));
      return json.code ?? status;
    },
    readAgain: () => ingest.process.kill('SIGHUP'),
    async metrics() {
      return (await fetch(`http://127.0.0.1:${ingest.adminPort}/metrics`)).text();
    },
  };
}

test('each takes the key of the start, and the next one when it reads again; what fails is counted and changes nothing', async (t) => {
  const [one, other] = [await start(t), await start(t)];
  for (const ingest of [one, other]) {
    assert.equal(await ingest.statusOf(first), 201);
    assert.equal(await ingest.statusOf(second), 'invalid_cookie');
  }
  answer = { status: 200, body: `publicKey=${second.base64}` };
  one.readAgain();
  await until(async () => (await one.statusOf(second)) === 201);
  // The key of before goes on, and the other ingest has not heard of the new one.
  assert.equal(await one.statusOf(first), 201);
  assert.deepEqual([await other.statusOf(second), await other.statusOf(first)], ['invalid_cookie', 201]);
  answer = { status: 503, body: '' };
  other.readAgain();
  await until(async () =>
    (await other.metrics()).includes('daybook_ingest_public_key_reads_total{outcome="failed"} 1'),
  );
  assert.equal(await other.statusOf(first), 201);
  assert.match(await one.metrics(), /^daybook_ingest_public_key_reads_total\{outcome="read"\} 2$/m);
  // Each key has a series of its last use.
  const used = (await one.metrics()).match(
    /^daybook_ingest_key_last_used_timestamp_seconds\{source="pages",keyid="[0-9a-f]{16}"\} \d{9}/gm,
  );
  assert.equal(used?.length, 2);
  assert.equal(readdirSync(join(one.data, 'public-keys')).length, 2);
  assert.equal(readdirSync(join(other.data, 'public-keys')).length, 1);
});

/** Its output; this process has to go on answering meanwhile. */
async function doctor(environment: Readonly<Record<string, string>>): Promise<string> {
  const main = fileURLToPath(new URL('../../../ingest/main.ts', import.meta.url));
  const env = { PATH: process.env.PATH ?? '', ...environment, INGEST_ADMIN_PORT: '0' };
  const child = spawn(process.execPath, [main, 'doctor'], {
    env,
    cwd: directory,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return text(child.stdout);
}

test('ingest starts where its key cannot be read, says so to pages, and doctor says why', async (t) => {
  answer = { status: 404, body: '' };
  const ingest = await start(t);
  assert.equal(await ingest.statusOf(first), 'cookie_key_unavailable');
  const said = await doctor(ingest.environment);
  assert.match(said, /^warning +secrets +a public key cannot be read.*HTTP 404/m);
  assert.match(said, /^problem +secrets +pages has no secret that has not ended/m);
  answer = { status: 200, body: first.pem };
  ingest.readAgain();
  await until(async () => (await ingest.statusOf(first)) === 201);
  assert.doesNotMatch(await doctor(ingest.environment), /public key|has no secret/);
});
