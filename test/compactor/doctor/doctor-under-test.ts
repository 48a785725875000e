/** The program `daybook-compactor doctor` on books of a test's own and a fake Stripe that delivers as it should. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { identityToRecipient } from 'age-encryption';
import { addDays, dayOf } from '../../../shared/clock.ts';
import type { Finding } from '../../../shared/doctor/finding.ts';
import { type FakeStripe, startFakeStripe, webhookEndpoint } from '../../stripe/fake-stripe.ts';
import { eventsOf } from '../archive-under-test.ts';
import { type Books, listingOf, openBooks, stripeRecord } from '../books.ts';

export const mainPath = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
const apiKey = 'rk_test_51DaybookFakeKeyOfDoctor';
const signingSecret = 'whsec_ofTheTestOfDoctor1234567890';
const jobSecret = 'the secret of the jobs';

export interface Answered {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** With `--json`. */
  readonly findings: readonly Finding[];
}

export interface Patient {
  readonly books: Books;
  readonly stripe: FakeStripe;
  /** What a sound installation has set. */
  readonly environment: Readonly<Record<string, string>>;
  /** Runs doctor; `change` replaces settings, an empty text takes one away. No secret comes out, whatever it finds. */
  doctor(change?: Readonly<Record<string, string>>, options?: readonly string[]): Promise<Answered>;
  /** The only source. */
  source(change?: object): string;
  close(): Promise<void>;
}

/** Two nights are archived: that of yesterday, and that of today. */
export async function openPatient(): Promise<Patient> {
  const books = await openBooks();
  const stripe = await startFakeStripe({ apiKey });
  stripe.endpoints.push(webhookEndpoint());
  const now = Date.now();
  const yesterday = addDays(dayOf(now), -1);
  for (const day of [addDays(yesterday, -1), yesterday]) {
    for (const { text } of eventsOf(day, 8, `doctor ${day}`)) {
      const event = JSON.stringify({ ...JSON.parse(text), api_version: '2026-10-28.endive', livemode: false });
      stripe.add(event);
      await books.deliver(stripeRecord(event));
    }
  }
  for (const daysAgo of [1, 0]) {
    books.at(new Date(now - daysAgo * 86_400_000).toISOString());
    // As the settings below: also in the first hour of a day yesterday is closed.
    await books.night([{ name: 'platform', listing: listingOf(stripe) }], { lagSeconds: 60 });
  }
  const keyFile = join(books.directory, 'signing-key.pem');
  await writeFile(keyFile, books.signingKey, { mode: 0o600 });
  const source = (change: object = {}) =>
    JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [signingSecret], mode: 'test', apiKey, ...change }]);
  const environment = {
    DAYBOOK_DATA_DIR: books.directory,
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
    DAYBOOK_SOURCES: source(),
    STRIPE_API_BASE: stripe.base.origin,
    COMPACTOR_RECIPIENTS: await identityToRecipient(books.identity),
    COMPACTOR_SIGNING_KEY_FILE: keyFile,
    COMPACTOR_LAG_SECONDS: '60',
    COMPACTOR_RUN_HOUR_UTC: '1',
    COMPACTOR_JOB_SECRET: jobSecret,
    COMPACTOR_PORT: '0',
    COMPACTOR_ADMIN_PORT: '0',
  };
  const secrets = [apiKey, signingSecret, jobSecret, books.identity, books.signingKey.split('\n')[1]!];

  return {
    books,
    stripe,
    environment,
    source,
    async doctor(change = {}, options = ['--json']) {
      const given = Object.entries({ PATH: process.env.PATH ?? '', ...environment, ...change });
      const env = Object.fromEntries(given.filter(([, value]) => value !== ''));
      const child = spawn(process.execPath, [mainPath, 'doctor', ...options], { cwd: books.directory, env });
      const output = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr'] as const) {
        child[name].setEncoding('utf8').on('data', (text: string) => {
          output[name] += text;
        });
      }
      const [code] = await once(child, 'close');
      for (const secret of secrets) assert.equal(`${output.stdout}${output.stderr}`.includes(secret), false);
      const findings = options.includes('--json') && output.stdout !== '' ? JSON.parse(output.stdout).findings : [];
      return { code, ...output, findings };
    },
    async close() {
      await stripe.close();
      await books.close();
    },
  };
}

/** The findings that are not ok, as `status check: message`. */
export function complaints(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ status, message }) => status !== 'ok' && !message.includes("in the place of Stripe's API"))
    .map(({ status, check, message }) => `${status} ${check}: ${message}`);
}
