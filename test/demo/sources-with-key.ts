/** The development sources with an API key, so that the night can list the simulated Stripe's events. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fakeApiKey } from '../stripe/fake-stripe.ts';
import type { Secrets } from './send-delivery.ts';

/** Writes the file `to`, and returns the secrets in it. */
export function writeSources(from: string, to: string): Secrets {
  const [platform, billing] = JSON.parse(readFileSync(from, 'utf8'));
  writeFileSync(to, JSON.stringify([{ ...platform, apiKey: fakeApiKey }, billing], null, 2), { mode: 0o600 });
  return readSecrets(to);
}

export function readSecrets(path: string): Secrets {
  const [platform, billing] = JSON.parse(readFileSync(path, 'utf8'));
  return { platform: platform.secrets[0], billing: billing.secrets[0] };
}
