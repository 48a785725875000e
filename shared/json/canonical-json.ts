/**
 * Canonical JSON, "sorted keys, source numbers": the one text that stands for a JSON value in the archive, so that the
 * same events give the same bytes (FORMAT.md, Canonical JSON). It is not RFC 8785, which rewrites numbers.
 *
 * - Members are sorted by the code points of their names, at every depth; of duplicates the last counts.
 * - Numbers are copied as they were written: 12345678901234567890, 1.10, -0, 1e400 and 1E5 stay what they are.
 * - Strings are escaped as JSON.stringify does: `"`, `\` and control characters alone, and lone surrogates as `\udXXX`
 *   in lower-case hex. No white space between tokens.
 *
 * It works on the text and never builds the value: numbers cannot be lost on the way, and `__proto__` and integer-like
 * names are names like any other. Nor are names left to JSON.parse: V8 of Node 24.21, having read `{"\\":1}`, takes the
 * name in `{"\u0061":1}` for a backslash, so that bytes would depend on what was read before. Real Stripe events take no
 * longer than JSON.parse, sort and JSON.stringify would.
 */
import { DaybookError } from '../errors.ts';
import { quickCanonical } from './json-bytes.ts';
import { maxNesting } from './json-text.ts';

interface Reader {
  readonly text: string;
  at: number;
  depth: number;
  readonly maxDepth: number;
  /** Whether the string read last stood there as it is handed out: without escapes, without surrogates. */
  wasPlain: boolean;
  /** Whether a name so far holds a surrogate: only then does code point order differ from that of UTF-16 units. */
  hasAstralName: boolean;
}

interface Member {
  readonly name: string;
  /** The name as a JSON string. */
  readonly quoted: string;
  readonly value: string;
}

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const letterF = 0x66;
const letterN = 0x6e;
const letterT = 0x74;
const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const surrogate = /[\ud800-\udfff]/;
/** Above this many members the built-in sort is quicker than insertion. */
const insertionMembers = 40;

/**
 * The canonical form of a JSON text. Accepts exactly what JSON.parse accepts, to a nesting of `maxDepth`.
 *
 * The string it returns still refers to pieces of `text`: encode it before keeping many of them.
 * @throws SyntaxError on anything else; it names the position, never the content.
 * @throws DaybookError `json_too_deep`
 */
export function canonicalJson(text: string, maxDepth = maxNesting): string {
  const reader: Reader = { text, at: 0, depth: 0, maxDepth, wasPlain: true, hasAstralName: false };
  const canonical = readValue(reader);
  skipSpace(reader);
  if (reader.at < text.length) refuse(reader);
  return canonical;
}

/** The same of UTF-8 bytes and as UTF-8 bytes, by the quick way where that can be taken. */
export function canonicalBytes(json: Buffer): Buffer {
  const quick = quickCanonical(json);
  return Buffer.from(quick ?? canonicalJson(json.toString()));
}

/** Order by code points, which is also the order of the UTF-8 bytes: below 0, 0 or above 0. */
export function compareCodePoints(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  let at = 0;
  while (at < shorter && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  if (at === shorter) return a.length - b.length;
  // Where the texts part inside a surrogate pair, both share its first half: step back to the whole code point.
  if (at > 0 && isHighSurrogate(a.charCodeAt(at - 1))) at--;
  return a.codePointAt(at)! - b.codePointAt(at)! || a.codePointAt(at + 1)! - b.codePointAt(at + 1)!;
}

function readValue(reader: Reader): string {
  const first = skipSpace(reader);
  if (first === quote) return readString(reader);
  if (first === openBrace) return readObject(reader);
  if (first === openBracket) return readArray(reader);
  const literal = first === letterN ? 'null' : first === letterF ? 'false' : first === letterT ? 'true' : undefined;
  if (literal === undefined) return readNumber(reader);
  if (!reader.text.startsWith(literal, reader.at)) refuse(reader);
  reader.at += literal.length;
  return literal;
}

function readNumber(reader: Reader): string {
  const { text, at: start } = reader;
  numberPattern.lastIndex = start;
  if (!numberPattern.test(text)) refuse(reader);
  reader.at = numberPattern.lastIndex;
  return text.slice(start, reader.at);
}

function readArray(reader: Reader): string {
  enter(reader);
  let canonical = '[';
  if (skipSpace(reader) === closeBracket) reader.at++;
  else {
    canonical += readValue(reader);
    while (anotherFollows(reader, closeBracket)) canonical += `,${readValue(reader)}`;
  }
  reader.depth--;
  return `${canonical}]`;
}

function readObject(reader: Reader): string {
  enter(reader);
  const members: Member[] = [];
  let inOrder = true;
  if (skipSpace(reader) === closeBrace) reader.at++;
  else {
    let before: string | undefined;
    do {
      const member = readMember(reader);
      if (before !== undefined && !(before < member.name)) inOrder = false;
      before = member.name;
      members.push(member);
    } while (anotherFollows(reader, closeBrace));
  }
  reader.depth--;
  if (!inOrder || reader.hasAstralName) sortByName(members, reader.hasAstralName);
  let canonical = '{';
  for (let at = 0; at < members.length; at++) {
    const { name, quoted, value } = members[at]!;
    // The sort is stable: of duplicates the last to be written stands last.
    if (members[at + 1]?.name === name) continue;
    canonical += canonical.length === 1 ? `${quoted}:${value}` : `,${quoted}:${value}`;
  }
  return `${canonical}}`;
}

function readMember(reader: Reader): Member {
  if (skipSpace(reader) !== quote) refuse(reader);
  const quoted = readString(reader);
  const name = reader.wasPlain ? quoted.slice(1, -1) : (JSON.parse(quoted) as string);
  if (!reader.wasPlain && surrogate.test(name)) reader.hasAstralName = true;
  if (skipSpace(reader) !== colon) refuse(reader);
  reader.at++;
  return { name, quoted, value: readValue(reader) };
}

/** The string at the reader as JSON.stringify would write it. */
function readString(reader: Reader): string {
  const { text, at: start } = reader;
  let isPlain = true;
  let at = start + 1;
  for (let code = text.charCodeAt(at); code !== quote; code = text.charCodeAt(at)) {
    // NaN, past the end of the text, is not at least a space either.
    if (!(code >= 0x20)) refuse(reader);
    if (code === backslash) {
      isPlain = false;
      at += 2;
      continue;
    }
    if (code >= 0xd800 && code < 0xe000) isPlain = false;
    at += 1;
  }
  reader.at = at + 1;
  reader.wasPlain = isPlain;
  const written = text.slice(start, at + 1);
  if (isPlain) return written;
  try {
    return JSON.stringify(JSON.parse(written));
  } catch {
    // An escape that JSON does not have. The parser's own message would quote the string.
    return refuse(reader);
  }
}

function sortByName(members: Member[], byCodePoint: boolean): void {
  if (byCodePoint) members.sort((a, b) => compareCodePoints(a.name, b.name));
  else if (members.length > insertionMembers) members.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  else {
    for (let at = 1; at < members.length; at++) {
      const member = members[at]!;
      let place = at;
      for (; place > 0 && members[place - 1]!.name > member.name; place--) members[place] = members[place - 1]!;
      members[place] = member;
    }
  }
}

/** Past the comma that another element or member follows, or past the closing bracket. */
function anotherFollows(reader: Reader, close: number): boolean {
  const code = skipSpace(reader);
  if (code !== comma && code !== close) refuse(reader);
  reader.at++;
  return code === comma;
}

function enter(reader: Reader): void {
  reader.at++;
  reader.depth++;
  if (reader.depth > reader.maxDepth) {
    throw new DaybookError('json_too_deep', { detail: `Brackets are nested deeper than ${reader.maxDepth}.` });
  }
}

/** Moves to the next token; its first code unit, or NaN at the end of the text. */
function skipSpace(reader: Reader): number {
  const { text } = reader;
  let { at } = reader;
  let code = text.charCodeAt(at);
  while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) code = text.charCodeAt(++at);
  reader.at = at;
  return code;
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code < 0xdc00;
}

function refuse(reader: Reader): never {
  throw new SyntaxError(`no JSON at character ${reader.at}`);
}
