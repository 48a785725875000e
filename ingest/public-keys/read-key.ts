/** The text of a public key that is read again and again, from where its reference says. */
import { readFile } from 'node:fs/promises';
import { textOfBytes } from '../../shared/files/read-text.ts';
import { getText } from '../../shared/http/get-text.ts';
import { withTimeLimit } from '../../shared/program/time-limit.ts';
import type { PublicKeyReference } from '../../shared/schemes/public-keys.ts';

export type PlacedKey = Exclude<PublicKeyReference, string | { env: string } | { value: string }>;
type S3Key = Extract<PublicKeyReference, { s3: unknown }>['s3'];

const limits = { limitMs: 5_000, maxBytes: 64 * 1024 };

/** Whether it has a place where it can change: a text that is written in the settings has none. */
export function hasPlace(reference: PublicKeyReference): reference is PlacedKey {
  return typeof reference === 'object' && ('file' in reference || 'url' in reference || 's3' in reference);
}

/** As log lines name it. A query may hold a token. */
export function placeOf(reference: PlacedKey): string {
  if ('file' in reference) return reference.file;
  if ('s3' in reference) return `s3://${reference.s3.bucket}/${reference.s3.key}`;
  return reference.url.replace(/[?#].*/, '');
}

/** Rejects with why it cannot be had, within a few seconds. */
export function readKey(reference: PlacedKey): Promise<string> {
  // A disk, or whoever gives the SDK its credentials, may not answer either.
  return withTimeLimit(limits.limitMs, read(reference));
}

async function read(reference: PlacedKey): Promise<string> {
  if ('file' in reference) return textOfBytes(await readFile(reference.file));
  return 'url' in reference ? getText(reference.url, limits) : readS3(reference.s3);
}

async function readS3({ bucket, key, ...where }: S3Key): Promise<string> {
  // The SDK takes a while to load, and few need it.
  const [{ GetObjectCommand }, { openS3Client }] = await Promise.all([
    import('@aws-sdk/client-s3'),
    import('../../shared/store/s3/client.ts'),
  ]);
  const client = openS3Client({ bucket, ...where });
  try {
    const { Body, ContentLength = 0 } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }), {
      abortSignal: AbortSignal.timeout(limits.limitMs),
    });
    if (ContentLength > limits.maxBytes) throw new Error(`more than ${limits.maxBytes} bytes`);
    return (await Body?.transformToString()) ?? '';
  } finally {
    client.destroy();
  }
}
