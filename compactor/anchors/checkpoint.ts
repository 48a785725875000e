/**
 * Checkpoints (c2sp.org/tlog-checkpoint): a signed note that says how many manifests there are, and the root of their tree.
 *
 *   <origin>\n<size>\n<root, base64>\n\n— <name> <base64 of the key's id and the signature>\n…
 *
 * The archive's signer signs the text up to the empty line; a witness that has seen it, and before it only trees that it
 * continues, signs `cosignature/v1\ntime <seconds>\n` and the text (c2sp.org/tlog-cosignature).
 */
import { encodeNoteKey, type NoteKey, noteAlgorithms } from '../../shared/crypto/note-key.ts';
import type { Signer, VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { Hash } from './tree.ts';

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  /** In base64. */
  readonly root: string;
  /** What is signed. */
  readonly text: string;
  readonly signatures: readonly { readonly name: string; readonly id: string; readonly bytes: Buffer }[];
}

export async function signCheckpoint(origin: string, size: number, root: Hash, signer: Signer): Promise<string> {
  const text = `${origin}\n${size}\n${root.toString('base64')}\n`;
  const id = Buffer.from(encodeNoteKey(origin, noteAlgorithms.ed25519, signer.publicKey).id, 'hex');
  const signature = Buffer.from(await signer.sign(Buffer.from(text)), 'base64');
  return `${text}\n— ${origin} ${Buffer.concat([id, signature]).toString('base64')}\n`;
}

/** @throws DaybookError `anchor_wrong` */
export function readCheckpoint(note: string): Checkpoint {
  const [, text, origin, size, root, lines] =
    /^(([^\n]+)\n(0|[1-9]\d{0,7})\n([A-Za-z0-9+/]{43}=)\n)\n((?:— \S+ [A-Za-z0-9+/]+=*\n)+)$/.exec(note) ?? [];
  if (text === undefined) throw new DaybookError('anchor_wrong', { detail: 'is not a checkpoint' });
  const signatures = lines!
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [, name, base64] = line.split(' ');
      const bytes = Buffer.from(base64!, 'base64');
      return { name: name!, id: bytes.toString('hex', 0, 4), bytes: bytes.subarray(4) };
    });
  return { origin: origin!, size: Number(size), root: root!, text, signatures };
}

/** Whether one of the archive's signers signed it. */
export function isOfArchive({ origin, text, signatures }: Checkpoint, keys: VerifyingKeys): boolean {
  const own = signatures.filter(({ name }) => name === origin);
  return own.some(({ bytes }) =>
    [...keys.values()].some((key) => key.verify(Buffer.from(text), bytes.toString('base64'))),
  );
}

/** When this witness signed it; undefined where it did not, or its signature does not hold. */
export function witnessedAt({ text, signatures }: Checkpoint, witness: NoteKey): Date | undefined {
  for (const { name, id, bytes } of signatures) {
    if (name !== witness.name || id !== witness.id || bytes.length !== 8 + 64) continue;
    const seconds = bytes.readBigUInt64BE();
    const signed = Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);
    if (witness.verify(signed, bytes.subarray(8))) return new Date(Number(seconds) * 1000);
  }
  return undefined;
}
