import type { IncomingMessage } from 'node:http';
import { DaybookError } from '../../shared/errors.ts';
import { checkMediaType } from '../../shared/http/content-type.ts';

const maxBodyBytes = 16 * 1024;

/** @throws DaybookError `unsupported_media_type`, `body_too_large` with this hint, `request_aborted` … */
export async function readSmallBody(
  request: IncomingMessage,
  accepted: ReadonlySet<string>,
  hintOfLarge: string,
): Promise<string> {
  checkMediaType(request.headers, accepted);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // What is too much is left to arrive, so that the answer can be read.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBodyBytes) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new DaybookError('request_aborted', { cause });
  }
  if (bytes <= maxBodyBytes) return Buffer.concat(chunks).toString();
  throw new DaybookError('body_too_large', { detail: `The limit is ${maxBodyBytes} bytes.`, hint: hintOfLarge });
}
