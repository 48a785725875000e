/** Reads one archive object whole: whether it is there with the bytes that its manifest names, and what is in it. */

import { createHash } from 'node:crypto';
import type { Identities } from '../../shared/crypto/identities.ts';
import { linesOf, openPlaintext, unpack } from '../../shared/crypto/open-sealed.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { type Finding, type Findings, openFindings } from './breaks.ts';

type Chunks = AsyncIterable<Uint8Array>;

export interface NamedObject {
  readonly manifest: number;
  readonly key: string;
  /** SHA-256 of its own bytes in hex. */
  readonly sha256: string;
  /** Its size, where the manifest says it. */
  readonly bytes?: number;
}

/** Looks at what is in the object and notes what is wrong with it. */
export type ReadContent = (chunks: Chunks, findings: Findings) => Promise<void>;

/**
 * What is wrong with an object. Its content is looked at while it is hashed, and counts only if the bytes are right: of
 * bytes that are not the right ones nothing more is to be said. `otherKeyOf` names the object that given bytes belong to.
 * Rejects where the store fails, which is not a fault of the archive.
 */
export async function checkObject(
  store: ObjectStore,
  object: NamedObject,
  otherKeyOf: (sha256: string) => string | undefined,
  readContent: ReadContent,
): Promise<Finding[]> {
  const { key } = object;
  const findings = openFindings();
  let reading = openReading(store, key);
  try {
    try {
      await readContent(reading.chunks, findings);
    } catch (error) {
      const code = error instanceof DaybookError ? error.code : undefined;
      if (code !== 'sealed_unreadable' && code !== 'line_too_long') throw error;
      findings.add(code, `has the right bytes, but: ${messageOf(error)}`);
    }
    if (reading.digest() === undefined) {
      // The reader of the content gave up before the end.
      reading = openReading(store, key);
      await drain(reading.chunks);
    }
  } catch (error) {
    const code = error instanceof DaybookError ? error.code : undefined;
    if (code === 'object_missing') return [{ code, message: 'is not there' }];
    if (code === 'object_key_invalid') return [{ code, message: messageOf(error) }];
    throw error;
  }
  const { sha256, bytes } = reading.digest()!;
  if (sha256 === object.sha256 && bytes === (object.bytes ?? bytes)) return findings.list();
  const other = otherKeyOf(sha256);
  const message =
    other !== undefined && other !== key
      ? `has the bytes of ${other}`
      : bytes !== (object.bytes ?? bytes)
        ? `has ${bytes} bytes instead of ${object.bytes}`
        : 'has other bytes than its manifest names';
  return [{ code: 'object_damaged', message }];
}

/** Looks at no content. */
export const bytesAlone: ReadContent = (chunks) => drain(chunks);

/** Looks at the lines of a sealed object: their number, their plaintext's hash, and whatever `each` does with them. */
export function sealedLines(
  identities: Identities,
  expected: { readonly plaintext: string; readonly lines: number; readonly bytes?: number },
  each: (line: string, number: number, findings: Findings) => void,
): ReadContent {
  return async (chunks, findings) => {
    const hash = createHash('sha256');
    let bytes = 0;
    let lines = 0;
    const plaintext = async function* () {
      for await (const chunk of openPlaintext(chunks, identities)) {
        hash.update(chunk);
        bytes += chunk.byteLength;
        yield chunk;
      }
    };
    for await (const line of linesOf(plaintext())) {
      lines += 1;
      each(line, lines, findings);
    }
    if (hash.digest('hex') !== expected.plaintext || bytes !== (expected.bytes ?? bytes)) {
      findings.add('content_wrong', 'has another plaintext than its manifest names');
    }
    if (lines !== expected.lines) findings.add('content_wrong', `has ${lines} lines instead of ${expected.lines}`);
  };
}

/** Looks at the ids of an `ids.gz`: their order, that each is there once, their number, and the name. */
export function idLines(key: string, count: number): ReadContent {
  return async (chunks, findings) => {
    const hash = createHash('sha256');
    const unpacked = async function* () {
      for await (const chunk of unpack(chunks)) {
        hash.update(chunk);
        yield chunk;
      }
    };
    let before: Buffer | undefined;
    let lines = 0;
    for await (const line of linesOf(unpacked())) {
      lines += 1;
      const id = Buffer.from(line);
      const order = before === undefined ? -1 : before.compare(id);
      if (order === 0) findings.add('ids_wrong', 'has an id twice', lines);
      if (order > 0) findings.add('ids_wrong', 'is not sorted by code point', lines);
      before = id;
    }
    if (lines !== count) findings.add('ids_wrong', `has ${counted(lines, 'id')} for ${counted(count, 'event')}`);
    checkName(key, hash.digest('hex'), findings);
  };
}

/** `<day>-<hash16>.…`, `<day>-<hash16>-2.…`, and in the quarantine the same without the day. */
export function checkName(key: string, plaintext: string, findings: Findings): void {
  const hash16 = /(?:^|[-/])([0-9a-f]{16})(?:-\d+)?\.[^/]*$/.exec(key)?.[1];
  if (hash16 !== plaintext.slice(0, 16)) findings.add('object_misnamed', "is not named after its plaintext's SHA-256");
}

interface Digest {
  readonly sha256: string;
  readonly bytes: number;
}

/** The object's bytes, and their digest once the last one has been read. */
function openReading(store: ObjectStore, key: string): { chunks: Chunks; digest(): Digest | undefined } {
  let digest: Digest | undefined;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of store.read(key)) {
      hash.update(chunk);
      bytes += chunk.byteLength;
      yield chunk;
    }
    digest = { sha256: hash.digest('hex'), bytes };
  }
  return { chunks: chunks(), digest: () => digest };
}

async function drain(chunks: Chunks): Promise<void> {
  for await (const chunk of chunks) void chunk;
}
