/** `daybook-compactor link`: time-limited URLs of archive objects, each with the SHA-256 that the signed manifest names. */
import { DaybookError } from '../../shared/errors.ts';
import { print } from '../../shared/program/standard-output.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openStore } from '../../shared/store/open.ts';
import type { ObjectLink, ObjectStore } from '../../shared/store/store.ts';
import { readArchiveConfiguration } from '../configuration.ts';
import { type NamedObject, readNamedObjects } from '../ledger/named-objects.ts';

export interface LinkOptions {
  readonly source?: string;
  readonly day?: string;
  readonly expires: string;
  readonly json?: boolean;
}

type LinkedObject = NamedObject & ObjectLink;

/** The longest that Signature Version 4 allows. */
const maxExpiresSeconds = 7 * 86_400;
const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/**
 * Prints the links on stdout and nowhere else: whoever has one can read the object. Rejects with `usage` where no manifest
 * names the object or the store has no links, with `object_missing` where a named object is not there.
 */
export async function linkCommand(keys: readonly string[], options: LinkOptions): Promise<void> {
  const expiresSeconds = readDuration(options.expires);
  const isByDay = options.source !== undefined && options.day !== undefined;
  if (isByDay === keys.length > 0 || (!isByDay && (options.source !== undefined || options.day !== undefined))) {
    throw new DaybookError('usage', { detail: 'give object keys, or --source and --day' });
  }
  const { settings, verifyingKeys } = readArchiveConfiguration();
  const { store, prefix } = await openStore(settings.DAYBOOK_STORE, settings.DAYBOOK_DATA_DIR);
  try {
    const { link } = store;
    if (link === undefined) {
      throw new DaybookError('usage', {
        detail: `${store.location} has no links: they need an S3 store`,
        hint: 'Copy the file; its SHA-256 is in the manifest (`node compactor/main.ts list --json`).',
      });
    }
    const named = await readNamedObjects(store, prefix, verifyingKeys);
    const objects = isByDay ? ofDay(named, options) : keys.map((key) => ofKey(named, key));
    for (const { key } of objects) await refuseMissing(store, key);
    const linked: LinkedObject[] = [];
    for (const object of objects) linked.push({ ...object, ...(await link(object.key, expiresSeconds)) });
    await print(options.json === true ? `${JSON.stringify({ links: linked })}\n` : describe(linked));
  } finally {
    await store.close();
  }
}

function readDuration(text: string): number {
  const [, number, unit] = /^(\d{1,7})([smhd])$/.exec(text) ?? [];
  const seconds = number === undefined ? 0 : Number(number) * units[unit!]!;
  if (seconds >= 1 && seconds <= maxExpiresSeconds) return seconds;
  throw new DaybookError('usage', { detail: `--expires takes 1s to 7d, such as 90s, 15m, 12h, 7d, not ${text}` });
}

function ofDay(named: ReadonlyMap<string, NamedObject>, { source, day }: LinkOptions): NamedObject[] {
  const objects = [...named.values()].filter(
    (object) => object.source === source && object.day === day && object.prunedBy === undefined,
  );
  if (objects.length > 0) return objects;
  throw new DaybookError('usage', { detail: `the archive has no objects of ${source} ${day}` });
}

function ofKey(named: ReadonlyMap<string, NamedObject>, key: string): NamedObject {
  const object = named.get(key);
  if (object?.prunedBy !== undefined) {
    throw new DaybookError('usage', { detail: `${key} was pruned: manifest ${object.prunedBy} says so` });
  }
  if (object !== undefined) return object;
  throw new DaybookError('usage', {
    detail: `no manifest names ${key}`,
    hint: 'Keys are whole, prefix included, as `node compactor/main.ts list --json` and the manifests have them.',
  });
}

async function refuseMissing(store: ObjectStore, key: string): Promise<void> {
  if ((await store.head(key)) === undefined) throw new DaybookError('object_missing', { detail: key });
}

function describe(linked: readonly LinkedObject[]): string {
  const blocks = linked.map(
    ({ key, url, expiresAt, endsWithCredentials, sha256, manifest }) =>
      `${visibleText(key)}\n  url       ${url}\n  until     ${expiresAt}${endsWithCredentials ? ', when the credentials that signed it end' : ''}\n  sha256    ${sha256}\n  manifest  ${manifest}\n`,
  );
  return `${blocks.join('')}To fetch and compare: curl -fsS '<url>' | sha256sum\n`;
}
