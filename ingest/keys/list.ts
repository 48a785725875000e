/** `daybook-ingest keys list`: the keys of all sources, until when they verify, and when each was last used. */
import { systemClock } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { print, tell } from '../../shared/program/standard-output.ts';
import { tableOf } from '../../shared/program/table.ts';
import { isActive } from '../../shared/schemes/secrets.ts';
import type { SecretReference } from '../../shared/schemes/source-members.ts';
import { type KeysConfiguration, readKeysConfiguration } from '../configuration.ts';
import { askLastUse, keyOf, type LastUse } from './last-use.ts';

export interface ListOptions {
  readonly json?: boolean;
  /** Admin listeners to ask; none: that of the settings. */
  readonly ingest?: readonly string[];
}

/** `keys list --json`. */
export interface ListedKey {
  readonly source: string;
  readonly scheme: string;
  /** Null where the secret cannot be had here. */
  readonly keyid: string | null;
  /** Where the secret is: `sources`, `env NAME`, `file path`. */
  readonly from: string;
  /** RFC 3339 UTC; null: for good. */
  readonly notAfter: string | null;
  readonly isActive: boolean;
  /** RFC 3339 UTC: by any ingest that was asked. Null: not since `unusedSince`, and where that is null too it is not known. */
  readonly lastUsedAt: string | null;
  readonly unusedSince: string | null;
  /** How many of the ingests that answered have the key. */
  readonly ingests: number;
}

export interface KeyList {
  readonly asked: readonly { readonly url: string; readonly problem: string | null }[];
  readonly keys: readonly ListedKey[];
}

export async function listCommand({ json, ingest }: ListOptions): Promise<void> {
  const configuration = readKeysConfiguration();
  const asked = await Promise.all((ingest ?? [ownListener(configuration)]).map(checkUrl).map(askLastUse));
  const list: KeyList = {
    asked: asked.map(({ url, problem }) => ({ url, problem: problem ?? null })),
    keys: keysOf(configuration, asked, systemClock.now().getTime()),
  };
  await print(json === true ? `${JSON.stringify(list)}\n` : describe(list));
  for (const { url, problem } of list.asked) {
    if (problem !== null) tell(`${url} does not tell when keys were used: ${problem}\n`);
  }
}

function keysOf({ settings, secretsOf }: KeysConfiguration, asked: readonly LastUse[], nowMs: number): ListedKey[] {
  return settings.DAYBOOK_SOURCES.flatMap((source) =>
    secretsOf(source).map(({ reference, secret }) => {
      const uses =
        secret === undefined ? [] : asked.map(({ usedAtMs }) => usedAtMs.get(keyOf(source.name, secret.keyid)));
      const lastMs = Math.max(0, ...uses.map((usedAtMs) => usedAtMs ?? 0));
      // One that did not answer may know of a use.
      const isKnown = secret !== undefined && asked.every(({ problem }) => problem === undefined);
      const sinceMs = Math.max(...asked.map((each) => each.sinceMs ?? 0));
      const notAfter = typeof reference === 'string' ? undefined : reference.notAfter;
      const endsAtMs = notAfter === undefined ? undefined : Date.parse(notAfter);
      return {
        source: source.name,
        scheme: source.scheme,
        keyid: secret?.keyid ?? null,
        from: placeOf(reference),
        notAfter: endsAtMs === undefined ? null : new Date(endsAtMs).toISOString(),
        isActive: isActive({ text: '', keyid: '', notAfterMs: endsAtMs }, nowMs),
        lastUsedAt: lastMs === 0 ? null : new Date(lastMs).toISOString(),
        unusedSince: lastMs === 0 && isKnown ? new Date(sinceMs).toISOString() : null,
        ingests: uses.filter((usedAtMs) => usedAtMs !== undefined).length,
      };
    }),
  );
}

export function placeOf(reference: SecretReference): string {
  if (typeof reference === 'string' || 'value' in reference) return 'sources';
  return 'env' in reference ? `env ${reference.env}` : `file ${reference.file}`;
}

function describe({ asked, keys }: KeyList): string {
  const answered = asked.filter(({ problem }) => problem === null).length;
  const rows = keys.map(({ source, scheme, keyid, from, notAfter, isActive: active, ingests, ...use }) => [
    source,
    scheme,
    keyid ?? 'unknown',
    from,
    notAfter === null ? 'for good' : `${active ? 'until' : 'ended'} ${seconds(notAfter)}`,
    use.lastUsedAt !== null
      ? seconds(use.lastUsedAt)
      : use.unusedSince !== null
        ? `not since ${seconds(use.unusedSince)}`
        : 'unknown',
    answered === 0 ? 'unknown' : `${ingests} of ${answered}`,
  ]);
  return tableOf(['source', 'scheme', 'keyid', 'secret in', 'verifies', 'last used', 'ingests that have it'], rows);
}

function seconds(instant: string): string {
  return `${instant.slice(0, 19)}Z`;
}

function ownListener({ settings: { INGEST_ADMIN_HOST: host, INGEST_ADMIN_PORT: port } }: KeysConfiguration): string {
  const address = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function checkUrl(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text;
  throw new DaybookError('usage', {
    detail: '--ingest is not a URL of an admin listener',
    hint: 'Give it as http://host:9464, where INGEST_ADMIN_HOST and INGEST_ADMIN_PORT have that ingest listen.',
  });
}
