/**
 * What a body may have been before something on the way changed it. Whoever signed did so over the bytes that were sent;
 * where one of these verifies, its `change` is what happened.
 */
import { isUtf8 } from 'node:buffer';
import { maxNesting, nestingOf } from '../../shared/json/json-text.ts';

export interface BodyVariant {
  /** What was done to the body on the way, to stand after "the body was …". */
  readonly change: string;
  readonly body: Buffer;
}

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** Every variant that differs from the body, each once; those that say most about the change first. */
export function bodyVariants(body: Buffer): BodyVariant[] {
  const seen = new Set([body.toString('latin1')]);
  return [...framings(body), ...writings(body)].filter((variant) => {
    const bytes = variant.body.toString('latin1');
    const isNew = !seen.has(bytes);
    seen.add(bytes);
    return isNew;
  });
}

/** Changes of the bytes around the JSON, or of all of them alike. */
function framings(body: Buffer): BodyVariant[] {
  const text = body.toString('latin1');
  const of = (change: string, changed: string) => ({ change, body: Buffer.from(changed, 'latin1') });
  return [
    of('given a line feed at its end', text.replace(/\n$/, '')),
    of('given line ends at its end', text.replace(/[\r\n]+$/, '')),
    of('robbed of the line feed at its end', `${text}\n`),
    of('robbed of the CRLF at its end', `${text}\r\n`),
    of('changed from LF to CRLF line ends', text.replaceAll('\r\n', '\n')),
    of('changed from CRLF to LF line ends', text.replaceAll(/\r?\n/g, '\r\n')),
    ...(body.subarray(0, 3).equals(byteOrderMark) ? [of('given a byte order mark', text.slice(3))] : []),
    { change: 'robbed of its byte order mark', body: Buffer.concat([byteOrderMark, body]) },
    ...decodings(body),
  ];
}

function decodings(body: Buffer): BodyVariant[] {
  const text = body.toString('utf8');
  const variants: BodyVariant[] = [];
  if (isUtf8(body)) {
    variants.push({ change: 'read as Latin-1 and written as UTF-8', body: Buffer.from(text, 'latin1') });
  }
  if (/^[A-Za-z0-9+/]+={0,2}\s*$/.test(text)) {
    variants.push({ change: 'encoded in base64', body: Buffer.from(text, 'base64') });
  }
  const inner = parse(body);
  if (typeof inner === 'string') variants.push({ change: 'made a JSON string', body: Buffer.from(inner) });
  return variants;
}

/** JSON that was parsed and written again has lost how it was written: these are the ways in which senders write. */
function writings(body: Buffer): BodyVariant[] {
  const value = parse(body);
  if (typeof value !== 'object' || value === null) return [];
  const change = 'parsed and written again as JSON';
  const texts = [JSON.stringify(value, null, 2), JSON.stringify(value), spaced(JSON.stringify(value))];
  return texts
    .flatMap((text) => [text, ascii(text), htmlSafe(text), text.replaceAll('/', '\\/')])
    .flatMap((text) => [text, `${text}\n`])
    .map((text) => ({ change, body: Buffer.from(text) }));
}

/** ECMAScript 2026, which TypeScript's library does not know yet. */
const sourceJson = JSON as unknown as {
  parse(text: string, revive: (name: string, value: unknown, context: { source?: string }) => unknown): unknown;
  rawJSON(text: string): object;
};

/** Numbers stay as they are written here: what they were before is gone if they were changed. */
function parse(body: Buffer): unknown {
  const start = body.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
  if (nestingOf(body) > maxNesting) return undefined;
  try {
    return sourceJson.parse(body.toString('utf8', start), (_, value, { source }) =>
      typeof value === 'number' ? sourceJson.rawJSON(source!) : value,
    );
  } catch {
    return undefined;
  }
}

/** `{"a": 1, "b": [1, 2]}`, as Python writes. */
function spaced(compact: string): string {
  return compact.replaceAll(/"(?:[^"\\]|\\.)*"|[:,]/g, (token) => (token.length === 1 ? `${token} ` : token));
}

function ascii(text: string): string {
  return text.replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** As Go and Rails write. */
function htmlSafe(text: string): string {
  return text.replaceAll(/[<>&\u2028\u2029]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
