import type { IncomingHttpHeaders } from 'node:http';
import { DaybookError } from '../errors.ts';

/** What was asked last, and its media type, empty where its charset is not UTF-8: one request is much like the next. */
let last: { readonly header: string | undefined; readonly type: string } = { header: undefined, type: '' };

/** Throws unless the body is of one of the media types, in UTF-8, and as it is (no content encoding). */
export function checkMediaType(headers: IncomingHttpHeaders, accepted: ReadonlySet<string>): void {
  const header = headers['content-type'];
  if (header !== last.header) last = { header, type: isUtf8Charset(header ?? '') ? mediaTypeOf(header) : '' };
  if (!accepted.has(last.type)) {
    const hint = `Send ${[...accepted].join(' or ')} in UTF-8.`;
    throw new DaybookError('unsupported_media_type', { hint });
  }
  const encoding = headers['content-encoding']?.trim().toLowerCase();
  if (encoding !== undefined && encoding !== '' && encoding !== 'identity') {
    throw new DaybookError('unsupported_content_encoding');
  }
}

/** The media type of a Content-Type header in lower case, without its parameters. */
export function mediaTypeOf(header: string | undefined): string {
  return (header ?? '').split(';', 1)[0]!.trim().toLowerCase();
}

const charset = /;\s*charset\s*=\s*("?)([^";\s]*)\1/i;

function isUtf8Charset(header: string): boolean {
  const match = charset.exec(header);
  return match === null || /^utf-?8$/i.test(match[2]!);
}
