/**
 * A captured request, as text: request line, headers, an empty line, then the body's exact bytes. Lines of the head end
 * in CRLF or LF, since editors and logs change them. Headers come out as Node would give them to a protocol.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { DaybookError } from '../../shared/errors.ts';

export interface CapturedRequest {
  readonly method: string;
  /** As sent: with the query, perhaps with scheme and host. */
  readonly target: string;
  /** Of the target, without host and query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Throws `usage` where this is not a request. */
export function parseCapture(bytes: Buffer): CapturedRequest {
  const head = endOfHead(bytes);
  return parseHead(bytes.subarray(0, head.end), bytes.subarray(head.bodyAt));
}

/** The same of a head and a body that were kept apart. */
export function parseHead(head: Buffer, body: Buffer): CapturedRequest {
  const [first = '', ...lines] = withoutMark(head).toString('latin1').trimEnd().split(/\r?\n/);
  const request = /^([A-Za-z]{1,20}) (\S+)(?: HTTP\/\d(?:\.\d)?)?\s*$/.exec(first);
  if (request === null)
    throw notCaptured('its first line is not a request line such as POST /webhooks/platform HTTP/1.1');
  const [, method, target] = request;
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const header = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line);
    if (header === null) throw notCaptured('a line before the empty one is not a header');
    const name = header[1]!.toLowerCase();
    // Node joins repeated headers so.
    headers[name] = headers[name] === undefined ? header[2]! : `${headers[name]}, ${header[2]}`;
  }
  return { method: method!.toUpperCase(), target: target!, path: pathOf(target!), headers, body };
}

/** An editor's byte order mark stands before the request line. */
function withoutMark(head: Buffer): Buffer {
  return head.subarray(0, 3).equals(Buffer.from('\ufeff')) ? head.subarray(3) : head;
}

function endOfHead(bytes: Buffer): { end: number; bodyAt: number } {
  const ends = ['\r\n\r\n', '\n\n']
    .map((mark) => ({ end: bytes.indexOf(mark), length: mark.length }))
    .filter(({ end }) => end >= 0)
    .sort((a, b) => a.end - b.end);
  const [first] = ends;
  if (first === undefined) throw notCaptured('no empty line ends its headers');
  return { end: first.end, bodyAt: first.end + first.length };
}

/** As app.ts has it: proxies may send the absolute form. */
function pathOf(target: string): string {
  return target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '').split('?', 1)[0]!;
}

function notCaptured(why: string): DaybookError {
  return new DaybookError('usage', {
    detail: `this is not a captured request: ${why}`,
    hint: 'Give the request line, the headers, an empty line, and the exact bytes of the body; or --headers and --body.',
  });
}
