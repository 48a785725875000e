/**
 * One archive of all schemes, by the two programs as a user starts them: signed events in, the night, verify with the
 * secrets; then the archive is opened, and every signature in it checked, with stock tools alone.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { NightReport } from '../../compactor/night.ts';
import type { ArchiveReport } from '../../compactor/verify/verify-archive.ts';
import { makeDevelopmentFiles } from '../../deploy/scripts/development-values.ts';
import { dayMs, dayOf, startOfDayMs } from '../../shared/clock.ts';
import { schemeNames } from '../../shared/schemes/schemes.ts';
import { openPrograms } from '../demo/programs.ts';
import {
  pandaHeaders,
  post,
  serverEvent,
  stripeEvent,
  stripeHeaders,
  stripeSecret,
} from '../ingest/ingest-under-test.ts';
import { cookieName, cookieOf, cookieSource, newIssuer, origin as pageOrigin } from '../ingest/login-cookie.ts';
import { senders } from '../ingest/schemes/senders.ts';
import { requireCommand } from '../require-service.ts';
import { write } from '../shared/crypto/keys.ts';

interface Delivery {
  readonly id: string;
  readonly scheme: string;
  readonly signedheaders: string;
  readonly path: string;
  readonly body: string;
}

const sources = [
  { name: 'platform', scheme: 'stripe', secrets: [stripeSecret] },
  { name: 'billing', scheme: 'panda', secrets: ['changeme'] },
  ...Object.values(senders).map(({ source }) => source),
];

const issuer = newIssuer();

test('one archive of all schemes is verified with the secrets, opened with age, gunzip and jq, its signatures checked by openssl', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-schemes-'));
  const keys = await makeDevelopmentFiles(folder);
  await writeFile(join(folder, 'sources.json'), JSON.stringify([...sources, cookieSource(issuer)]));
  const programs = openPrograms(folder, {
    DAYBOOK_DATA_DIR: folder,
    DAYBOOK_SOURCES: 'sources.json',
    INGEST_PORT: '0',
    INGEST_ADMIN_PORT: '0',
    COMPACTOR_RECIPIENTS: keys.recipient,
    COMPACTOR_SIGNING_KEY_FILE: keys.signingKey,
  });
  t.after(async () => {
    await programs.stopIngest();
    await rm(folder, { recursive: true, force: true });
  });

  const url = await programs.startIngest();
  const sent = await sendAll(url.origin);
  assert.equal(await programs.stopIngest(), 0);

  // All of today, and of the day that may have begun meanwhile, is closed then.
  const now = new Date(startOfDayMs(dayOf(Date.now())) + dayMs + 2 * 3_600_000).toISOString();
  const night = await programs.compactor<NightReport>(['run', '--now', now]);
  assert.deepEqual([night.errors, night.warnings], [[], []]);

  const check = ['verify', '--identity', keys.identity, '--secrets', 'sources.json', '--strict'];
  const verified = await programs.compactor<ArchiveReport>(check);
  assert.deepEqual([verified.ok, verified.breaks], [true, []]);
  const { checked, failed, unknownSecret } = verified.deliveries;
  assert.deepEqual({ checked, failed, unknownSecret }, { checked: sent.deliveries, failed: 0, unknownSecret: 0 });

  for (const command of ['age', 'gunzip', 'jq', 'openssl']) if (!requireCommand(t, command)) return;
  const archive = join(folder, 'archive');
  const files = (await readdir(archive, { recursive: true })).filter((file) => file.endsWith('.jsonl.gz.age'));
  const isEvidence = (file: string) => file.includes('.deliveries.');
  const open = (file: string, filter: string) => opened(join(archive, file), keys.identity, filter);

  const events = files.filter((file) => !isEvidence(file)).flatMap((file) => open(file, '[.source // "stripe", .id]'));
  assert.deepEqual(
    events.map((event) => JSON.stringify(event)).toSorted(),
    sent.events.map((event) => JSON.stringify(event)).toSorted(),
  );
  const deliveries = files.filter(isEvidence).flatMap((file) => open(file, '.')) as Delivery[];
  assert.equal(deliveries.length, sent.deliveries);
  const archived = new Set(deliveries.map(({ scheme }) => scheme));
  assert.deepEqual(archived, new Set(schemeNames));
  for (const delivery of deliveries) assert.ok(isSigned(delivery), JSON.stringify(delivery));
  const [first] = deliveries.filter(({ scheme }) => scheme === 'github');
  assert.equal(isSigned({ ...first!, body: `${first!.body} ` }), false, 'a signature is looked at');
});

/** Two events of each sender, the first twice. Gives every event that the archive is to have, and the number of deliveries. */
async function sendAll(origin: string): Promise<{ events: [string, string][]; deliveries: number }> {
  const events: [string, string][] = [];
  let deliveries = 0;
  const take = async (path: string, headers: Record<string, string>, body: string) => {
    const { status } = await post(`${origin}${path}`, headers, body);
    assert.ok(status === 200 || status === 201, `${path}: ${status}`);
    deliveries += 1;
  };
  const seconds = Math.floor(Date.now() / 1000);
  for (const [name, { sign, id }] of Object.entries(senders)) {
    for (const [number, body] of ['{ "type": "paid", "n": 1.10 }', '{ "type": "paid", "n": 2 }'].entries()) {
      await take(`/webhooks/${name}`, sign(body, { id: `msg_${number}` }), body);
      events.push([`/events/${name}`, id === undefined ? contentIdOf(number) : `msg_${number}`]);
    }
    // Sent again it is signed again where a time is signed; else it is the same request once more.
    const body = '{ "type": "paid", "n": 1.10 }';
    await take(`/webhooks/${name}`, sign(body, { id: 'msg_0', atSeconds: seconds - 7 }), body);
  }
  const event = JSON.stringify(serverEvent());
  await take('/events', senders.standard!.sign(event, { id: 'msg_of_a_server' }), event);
  events.push(['/events/standard', 'msg_of_a_server']);
  const cloudEvent = JSON.stringify({ specversion: '1.0', id: 'ce-1', source: '/s', type: 't' });
  await take('/events', pandaHeaders(), cloudEvent);
  events.push(['/events/billing', 'ce-1']);
  const cookie = `${cookieName}=${cookieOf(issuer)}`;
  await take('/events', { 'content-type': 'application/json', origin: pageOrigin, cookie }, cloudEvent);
  events.push(['/events/pages', 'ce-1']);
  const stripe = JSON.stringify(stripeEvent());
  await take('/webhooks/platform', stripeHeaders(stripe), stripe);
  events.push(['stripe', 'evt_1']);
  return { events, deliveries };
}

/** `sha256-` and 32 hex digits of the canonical JSON, which is written here by hand. */
function contentIdOf(number: number): string {
  const canonical = ['{"n":1.10,"type":"paid"}', '{"n":2,"type":"paid"}'][number]!;
  const digest = execFileSync('openssl', ['dgst', '-sha256', '-hex', '-r'], { input: canonical }).toString();
  return `sha256-${digest.slice(0, 32)}`;
}

/** The lines of a sealed object, by `age -d -i … | gunzip | jq -c …`. */
function opened(file: string, identity: string, filter: string): unknown[] {
  const script = 'age -d -i "$1" "$2" | gunzip | jq -c "$3"';
  const lines = execFileSync('bash', ['-euo', 'pipefail', '-c', script, 'bash', identity, file, filter]).toString();
  return lines
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** Whether the headers that were kept hold the HMAC that openssl makes of what the scheme signs. */
function isSigned({ scheme, signedheaders, path, body }: Delivery): boolean {
  const header = Object.fromEntries(signedheaders.split('; ').map((text) => text.split(': ') as [string, string]));
  const text = (name: string) => sources.find((source) => source.scheme === name)!.secrets[0];
  const mac = (signed: string, key: string | Buffer, digest = '-sha256') =>
    execFileSync(
      'openssl',
      ['dgst', digest, '-mac', 'HMAC', '-macopt', `hexkey:${Buffer.from(key).toString('hex')}`, '-binary'],
      {
        input: signed,
      },
    );
  const [kind] = Object.keys(header)[0]!.split('-');
  switch (scheme) {
    case 'stripe': {
      const [t, v1] = header['stripe-signature']!.split(',').map((item) => item.slice(item.indexOf('=') + 1));
      return mac(`${t}.${body}`, text('stripe')).toString('hex') === v1;
    }
    case 'panda': {
      const signed = `${header['x-gu-tools-hmac-date']}\n${path}`;
      return header['x-gu-tools-hmac-token'] === `HMAC ${mac(signed, text('panda')).toString('base64')}`;
    }
    case 'standard': {
      const signed = `${header[`${kind}-id`]}.${header[`${kind}-timestamp`]}.${body}`;
      const key = Buffer.from(text('standard').slice('whsec_'.length), 'base64');
      return header[`${kind}-signature`] === `v1,${mac(signed, key).toString('base64')}`;
    }
    case 'github':
      return header['x-hub-signature-256'] === `sha256=${mac(body, text('github')).toString('hex')}`;
    case 'shopify':
      return header['x-shopify-hmac-sha256'] === mac(body, text('shopify')).toString('base64');
    case 'cookie': {
      const [, digest, signature] = /=sha256-(.+)\.(.+)$/.exec(header.cookie!)!;
      const given = ['-in', write('digest', Buffer.from(digest!, 'base64'))];
      given.push('-sigfile', write('signature', Buffer.from(signature!, 'base64')), '-pkeyopt', 'digest:sha256');
      const verify = ['pkeyutl', '-verify', '-pubin', '-inkey', write('key.pem', issuer.pem), ...given];
      return spawnSync('openssl', verify).status === 0;
    }
    case 'slack': {
      const signed = `v0:${header['x-slack-request-timestamp']}:${body}`;
      return header['x-slack-signature'] === `v0=${mac(signed, text('slack')).toString('hex')}`;
    }
    default: {
      const signed = `${path}:${header['x-acme-id']}:${header['x-acme-time']}:${body}`;
      return header['x-acme-signature'] === `v=${mac(signed, text('hmac'), '-sha512').toString('base64')}`;
    }
  }
}
