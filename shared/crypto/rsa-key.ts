/** RSA keys as OpenSSH writes them (RFC 4251 section 5, RFC 4253 section 6.6), and what age makes of them. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';

/** What age takes as the label of its RSA-OAEP: https://age-encryption.org/v1, "The ssh-rsa recipient type". */
export const oaepLabel = Buffer.from('age-encryption.org/v1/ssh-rsa');
export const minModulusBits = 2048;

/** Reads the length-prefixed fields of an OpenSSH structure; throws RangeError past its end. */
export function wireReader(bytes: Buffer) {
  let at = 0;
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw new RangeError('the structure ends too early');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const uint32 = () => take(4).readUInt32BE();
  return {
    take,
    uint32,
    string: () => take(uint32()),
    /** Whether all was read. */
    isAtEnd: () => at === bytes.length,
  };
}

/** The public key in OpenSSH's wire form: `ssh-rsa`, the exponent, the modulus. */
export function wireOf(key: KeyObject): Buffer {
  const { e, n } = key.export({ format: 'jwk' });
  const fields = [
    Buffer.from('ssh-rsa'),
    positive(Buffer.from(e!, 'base64url')),
    positive(Buffer.from(n!, 'base64url')),
  ];
  return Buffer.concat(fields.flatMap((field) => [uint32(field.length), field]));
}

/** The public key of a wire form, or undefined where it is none or not written as OpenSSH writes it. */
export function publicKeyOfWire(wire: Buffer): KeyObject | undefined {
  try {
    const fields = wireReader(wire);
    if (fields.string().toString('latin1') !== 'ssh-rsa') return undefined;
    const [e, n] = [fields.string().toString('base64url'), fields.string().toString('base64url')];
    const key = createPublicKey({ key: { kty: 'RSA', e, n }, format: 'jwk' });
    return wireOf(key).equals(wire) ? key : undefined;
  } catch {
    return undefined;
  }
}

/** Names a key in a stanza: unpadded base64 of the first 4 bytes of the SHA-256 of its wire form. */
export function stanzaTag(wire: Buffer): string {
  return createHash('sha256').update(wire).digest().subarray(0, 4).toString('base64').replaceAll('=', '');
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A number of the wire form is signed: one whose first bit is set gets a zero byte before it. */
function positive(bytes: Buffer): Buffer {
  return bytes[0]! >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes;
}
