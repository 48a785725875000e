import type { DatedAnswer } from '../http/note-date.ts';

/** The bytes of one object, which can be read from the start as often as an upload needs them. */
export interface ObjectBody {
  readonly bytes: number;
  open(): AsyncIterable<Uint8Array>;
}

/**
 * Where archive objects live. Kept by every implementation, checked by test/contract/object-store.ts:
 * - `create` resolves when the whole object would survive a power cut, and not before;
 * - an object appears under its key only when it is whole;
 * - of any number of creates of one key, exactly one answers `created`, whatever the bytes;
 * - a `create` that rejects may have created all the same: a repeat then answers `exists`;
 * - nothing here changes or removes an object: deletion is another interface, which prune alone is given.
 * Keys are relative paths with `/` between their parts; no part is empty, `.` or `..`. Other keys are refused with
 * `object_key_invalid`, whatever is asked.
 */
export interface ObjectStore {
  /** The date of the last answer of the store's server, where it is one. */
  answered?(): DatedAnswer;
  /** Names the place for people: a path or a URL, without credentials. */
  readonly location: string;
  create(key: string, body: ObjectBody): Promise<'created' | 'exists'>;
  head(key: string): Promise<{ bytes: number } | undefined>;
  /**
   * The bytes from `from` (inclusive) to `to` (exclusive), counted from 0; those of them that there are.
   * Rejects with `object_missing` where there is no such object.
   */
  read(key: string, range?: { from: number; to: number }): AsyncIterable<Uint8Array>;
  /** Keys that begin with the prefix, in ascending order of their UTF-8 bytes. */
  list(prefix: string): AsyncIterable<string>;
  /** Makes a link to an object, which need not be there. Undefined where the store has none. */
  readonly link?: (key: string, expiresSeconds: number) => Promise<ObjectLink>;
  close(): Promise<void>;
}

/**
 * Deletes objects of a store. Prune alone is given one. Kept by every implementation, checked by
 * test/contract/object-remover.ts:
 * - `remove` resolves when the object would not be there after a power cut either; also where there was none;
 * - a `remove` that rejects may have removed all the same: a repeat then resolves;
 * - it rejects with `removal_refused` where the store keeps this object, and may well remove others.
 * `hidden`: the store has versions. The key is free, as for `ObjectStore`, and the bytes stay as an older version.
 */
export interface ObjectRemover {
  remove(key: string): Promise<'removed' | 'hidden'>;
  close(): Promise<void>;
}

/**
 * Keeps objects from being deleted, by whomever, where the store can: the legal hold of S3 Object Lock. `hold`, `release` and
 * nights that write on a held day are given one. `set` resolves when it is so, also where it was so before; `missing`: there
 * is no such object. One that rejects may have done it all the same: a repeat then resolves.
 */
export interface ObjectHolder {
  set(key: string, isHeld: boolean): Promise<'set' | 'missing'>;
  close(): Promise<void>;
}

/**
 * Writes over an object: for what is no part of an archive, and is to be found under one name. `backup-secrets` alone is
 * given one. `replace` resolves when the new bytes would survive a power cut; until then, and where it rejects, the key has
 * the old bytes or the new ones, whole.
 */
export interface ObjectReplacer {
  replace(key: string, bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Whoever has the URL can read the object until then: it belongs in no log. */
export interface ObjectLink {
  readonly url: string;
  /** RFC 3339 UTC. */
  readonly expiresAt: string;
  /** Whether that is earlier than asked for, since the credentials that signed it end. */
  readonly endsWithCredentials: boolean;
}

export function bodyOf(bytes: Uint8Array): ObjectBody {
  return {
    bytes: bytes.byteLength,
    async *open() {
      yield bytes;
    },
  };
}

/** Of a larger object no more than `maxBytes` and a chunk. */
export async function readWhole(store: ObjectStore, key: string, maxBytes = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of store.read(key)) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxBytes) break;
  }
  return Buffer.concat(chunks);
}
