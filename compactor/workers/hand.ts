/**
 * Lines that one worker hands to another through the store. They are sealed for a key that the other has in its memory alone,
 * for this night: what lies there afterwards nobody can open, this service neither.
 */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { linesOf, openPlaintext } from '../../shared/crypto/open-sealed.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { openSealed, type Sealing } from '../objects/seal-object.ts';
import { storeObject } from '../objects/store-object.ts';
import type { Crew } from './crew.ts';

export interface Handed {
  /** Whose it is. */
  readonly to: number;
  readonly key: string;
  /** Of the object's own bytes. */
  readonly sha256: string;
}

/** What one worker hands to the others, one object each. */
export interface Parcels {
  /** A line for a worker. Where a promise comes back, the next one waits for it. */
  write(to: number, line: string | Buffer): void | Promise<void>;
  /** Resolves when all of it is in the store. May be called once. */
  send(): Promise<Handed[]>;
  /** Gives up what was not sent. Never rejects. */
  discard(): Promise<void>;
}

/** `name` tells what it is. Opens nothing until something is written. */
export function openParcels(night: ParcelNight, name: string): Parcels {
  const { store, crew, stagingDirectory } = night;
  const open = new Map<number, Sealing>();
  return {
    write(to, line) {
      let sealing = open.get(to);
      if (sealing === undefined) {
        const path = join(stagingDirectory, `parcel-${randomBytes(6).toString('hex')}`);
        sealing = openSealed({ path, recipients: [crew!.recipients[to]!] });
        open.set(to, sealing);
      }
      return sealing.write(line);
    },
    async send() {
      const handed: Handed[] = [];
      for (const [to, sealing] of open) {
        const sealed = await sealing.finish();
        const key = await storeObject(store, `${crew!.stem}${name}-`, '.jsonl.gz.age', sealed, () => false);
        // Dies here: nobody can open it once the other has ended.
        handed.push({ to, key, sha256: sealed.sha256.ciphertext });
      }
      return handed;
    },
    async discard() {
      for (const sealing of open.values()) await sealing.abort();
    },
  };
}

/** Of the night. */
interface ParcelNight {
  readonly store: ObjectStore;
  readonly crew?: Crew;
  readonly stagingDirectory: string;
}

/** The lines of all that was handed to this worker. @throws DaybookError `object_damaged` at the end, where they are others */
export async function* linesHanded(store: ObjectStore, crew: Crew, all: readonly Handed[]): AsyncGenerator<string> {
  for (const { key, sha256 } of all.filter(({ to }) => to === crew.index)) {
    const hash = createHash('sha256');
    const hashed = async function* () {
      for await (const chunk of store.read(key)) {
        hash.update(chunk);
        yield chunk;
      }
    };
    yield* linesOf(openPlaintext(hashed(), [crew.identity]));
    if (hash.digest('hex') !== sha256) throw new DaybookError('object_damaged', { detail: `${key} has other bytes` });
  }
}
