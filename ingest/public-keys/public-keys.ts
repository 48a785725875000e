/**
 * The public keys of cookie sources, read again each minute, so that the issuer can change its key and nobody has to restart
 * ingest. What holds:
 * - a read that fails changes nothing: the keys of before go on, and it is said and counted;
 * - a key that is not there any more is taken for another 24 hours: cookies that it signed live on for as long;
 * - every key is kept in a file of its own, since deliveries can be checked again only by whoever has it.
 * Each ingest reads for itself. What one has learnt of old keys ends with its process.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Clock, parseInstant } from '../../shared/clock.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { createNewFile, type NewFile } from '../../shared/files/new-file.ts';
import type { Logger } from '../../shared/program/log.ts';
import { cookieGraceMs } from '../../shared/schemes/cookie.ts';
import {
  type ParsedKey,
  type PublicKey,
  type PublicKeyReference,
  parsePublicKeys,
} from '../../shared/schemes/public-keys.ts';
import { isActive, type Secret } from '../../shared/schemes/secrets.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';
import { hasPlace, type PlacedKey, placeOf, readKey } from './read-key.ts';

export interface PublicKeysOptions {
  /** In which every key is kept; undefined: nowhere. */
  readonly historyDirectory?: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of each read. */
  readonly onRead: (isRead: boolean) => void;
  /** Told of the sources after each refresh: their keys may be others. */
  readonly onKeys?: (sources: readonly ResolvedSource[]) => void;
  /** A parameter for the sake of tests alone. */
  readonly everyMs?: number;
}

export interface PublicKeys {
  /**
   * From now on the keys of these sources are read. Comes back with all of them, where `secrets` of a cookie source are at any
   * moment the keys that count. A source that was followed before with the same places keeps its keys; those of new places are
   * there after the next refresh.
   */
  follow(sources: readonly ResolvedSource[]): readonly ResolvedSource[];
  /** Reads all again. Resolves within seconds, whatever comes of it. */
  refresh(): Promise<void>;
  close(): void;
}

export function openPublicKeys(options: PublicKeysOptions): PublicKeys {
  let followed: readonly ResolvedSource[] = [];
  /** By the names of the cookie sources. */
  let keys = new Map<string, KeysOfSource>();

  async function refresh(): Promise<void> {
    await Promise.all([...keys.values()].map((each) => each.refresh()));
    options.onKeys?.(followed);
  }

  const timer = setInterval(() => void refresh(), options.everyMs ?? 60_000);
  return {
    follow(sources) {
      const before = keys;
      keys = new Map();
      followed = sources.map((resolved) => {
        const { source } = resolved;
        if (source.scheme !== 'cookie') return resolved;
        const known = before.get(source.name);
        const isSame = isDeepStrictEqual(known?.places, source.publicKeys);
        const own = isSame ? known! : keysOf(source.name, source.publicKeys, resolved.secrets as PublicKey[], options);
        keys.set(source.name, own);
        return {
          source,
          get secrets() {
            return own.secrets();
          },
        };
      });
      return followed;
    },
    refresh,
    close: () => clearInterval(timer),
  };
}

interface KeysOfSource {
  readonly places: readonly PublicKeyReference[];
  secrets(): readonly Secret[];
  refresh(): Promise<void>;
}

function keysOf(
  name: string,
  places: readonly PublicKeyReference[],
  given: readonly PublicKey[],
  options: PublicKeysOptions,
): KeysOfSource {
  const { clock, log, onRead } = options;
  /** By their places. */
  const current = places.map((_, at) => given.filter((key) => key.at === at));
  /** Keys that are in no place any more, by their keyids. */
  const gone = new Map<string, Secret>();
  /** Why each place could not be read the last time. */
  const failures = new Map<number, string>();
  let secrets: readonly Secret[] = given;

  async function refresh(): Promise<void> {
    await Promise.all(places.map((reference, at) => (hasPlace(reference) ? readAgain(reference, at) : {})));
    for (const [keyid, key] of gone) if (!isActive(key, clock.now().getTime())) gone.delete(keyid);
    secrets = [...current.flat(), ...gone.values()];
  }

  async function readAgain(reference: PlacedKey, at: number): Promise<void> {
    const place = placeOf(reference);
    try {
      const keys = parsePublicKeys(await readKey(reference));
      if ('problem' in keys) throw new Error(keys.problem);
      onRead(true);
      if (failures.delete(at)) log.info({ source: name, place }, 'the public key can be read again');
      await take(keys, reference, at, place);
    } catch (error) {
      onRead(false);
      const reason = messageOf(error);
      // Once for each reason: it is tried each minute.
      if (failures.get(at) !== reason) {
        log.warn(
          { source: name, place, reason, keys: secrets.length },
          'a public key cannot be read; those at hand go on',
        );
      }
      failures.set(at, reason);
    }
  }

  async function take(keys: readonly ParsedKey[], reference: PlacedKey, at: number, place: string): Promise<void> {
    const before = current[at]!;
    const notAfter =
      'file' in reference && reference.notAfter !== undefined ? parseInstant(reference.notAfter) : undefined;
    current[at] = keys.map((key) => ({ ...key, notAfterMs: notAfter, at }));
    const named = new Set(current.flat().map(({ keyid }) => keyid));
    const known = new Set(before.map(({ keyid }) => keyid));
    for (const key of before.filter(({ keyid }) => !named.has(keyid))) {
      const endsAtMs = clock.now().getTime() + cookieGraceMs;
      gone.set(key.keyid, { ...key, notAfterMs: Math.min(key.notAfterMs ?? endsAtMs, endsAtMs) });
      log.info(
        { source: name, place, keyid: key.keyid, until: new Date(endsAtMs).toISOString() },
        'a public key is gone',
      );
    }
    for (const { keyid, text } of keys) {
      gone.delete(keyid);
      if (!known.has(keyid)) log.info({ source: name, place, keyid }, 'a public key is taken');
      await keep(options, name, keyid, text);
    }
  }

  return { places, secrets: () => secrets, refresh };
}

/** A key of which deliveries will ask in years. What is there already is that key. */
async function keep(
  { historyDirectory, log }: PublicKeysOptions,
  source: string,
  keyid: string,
  pem: string,
): Promise<void> {
  if (historyDirectory === undefined) return;
  let file: NewFile | undefined;
  try {
    await mkdir(historyDirectory, { recursive: true, mode: 0o700 });
    file = await createNewFile(join(historyDirectory, `${source}-${keyid}.pem`));
    await file.write(Buffer.from(`${pem}\n`));
    await file.finish();
  } catch (error) {
    if (error instanceof DaybookError && error.code === 'output_exists') return;
    log.warn({ source, keyid, reason: messageOf(error) }, 'a public key could not be kept: keep it by hand');
  } finally {
    file?.abandon();
  }
}
