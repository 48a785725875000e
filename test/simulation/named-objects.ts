/** Objects as manifests name them: each once, whole, with the hashes that are said. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Part } from '../../compactor/ledger/manifest.ts';
import type { Identities } from '../../shared/crypto/identities.ts';
import { linesOf, openPlaintext, unpack } from '../../shared/crypto/open-sealed.ts';

type Objects = ReadonlyMap<string, Buffer>;

export interface NamedObjects {
  /** Lines of a sealed object. */
  sealedLines(objects: Objects, object: Sealed): Promise<string[]>;
  /** Lines of an `ids.gz`. */
  idLines(objects: Objects, object: Part['ids']): Promise<string[]>;
}

interface Sealed {
  readonly key: string;
  readonly sha256: { readonly plaintext: string; readonly ciphertext: string };
}

export const sha256Of = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export function openNamedObjects(identities: Identities): NamedObjects {
  const named = new Set<string>();

  async function sealedLines(objects: Objects, object: Sealed): Promise<string[]> {
    const bytes = nameOnce(objects, object.key);
    assert.equal(sha256Of(bytes), object.sha256.ciphertext, `${object.key} is what was written`);
    assert.equal(bytes.toString('latin1', 0, 21), 'age-encryption.org/v1', `${object.key} is sealed`);
    const lines: string[] = [];
    for await (const line of linesOf(openPlaintext(chunksOf(bytes), identities))) lines.push(line);
    assert.equal(
      sha256Of(lines.map((line) => `${line}\n`).join('')),
      object.sha256.plaintext,
      `plaintext of ${object.key}`,
    );
    assert.ok(object.key.includes(object.sha256.plaintext.slice(0, 16)), `${object.key} tells its content`);
    return lines;
  }

  function nameOnce(objects: Objects, objectKey: string): Buffer {
    assert.ok(!named.has(objectKey), `${objectKey} is named once`);
    named.add(objectKey);
    const bytes = objects.get(objectKey);
    assert.ok(bytes !== undefined, `${objectKey} is there`);
    return bytes;
  }

  return {
    sealedLines,
    async idLines(objects, { key, sha256 }) {
      const bytes = nameOnce(objects, key);
      assert.equal(sha256Of(bytes), sha256, `${key} is what was written`);
      const lines: string[] = [];
      for await (const id of linesOf(unpack(chunksOf(bytes)))) lines.push(id.toString());
      return lines;
    },
  };
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
