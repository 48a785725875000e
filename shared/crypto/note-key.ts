/**
 * Keys of signed notes (c2sp.org/signed-note): `<name>+<id>+<base64 of a byte that tells the algorithm, and the public key>`,
 * id = the first 8 hex of SHA-256 of the name, LF, and what the base64 is of.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';

/** Ed25519 over the note; Ed25519 by a witness over the time and the note (c2sp.org/tlog-cosignature). */
export const noteAlgorithms = { ed25519: 1, cosignature: 4 } as const;

export interface NoteKey {
  readonly name: string;
  readonly id: string;
  /** Never throws. */
  verify(bytes: Uint8Array, signature: Uint8Array): boolean;
}

/** `publicKey`: the 32 bytes of an Ed25519 key. */
export function encodeNoteKey(name: string, algorithm: number, publicKey: Uint8Array): { id: string; text: string } {
  const key = Buffer.concat([Buffer.of(algorithm), publicKey]);
  const id = createHash('sha256').update(`${name}\n`).update(key).digest('hex').slice(0, 8);
  return { id, text: `${name}+${id}+${key.toString('base64')}` };
}

/** The key of a witness; undefined where the text is none. */
export function parseWitnessKey(text: string): NoteKey | undefined {
  const [, name, id, base64] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(text.trim()) ?? [];
  const key = Buffer.from(base64 ?? '', 'base64');
  if (name === undefined || key.length !== 33 || key[0] !== noteAlgorithms.cosignature) return undefined;
  if (encodeNoteKey(name, noteAlgorithms.cosignature, key.subarray(1)).id !== id) return undefined;
  // RFC 8410: what stands before the key in its SPKI.
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key.subarray(1)]);
  const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  return { name, id, verify: (bytes, signature) => verify(null, bytes, publicKey, signature) };
}
