/**
 * The quick way through JSON for the bodies that events have: one strict pass over the bytes, without a string for each
 * token. What it does not take it leaves to the general way (JSON.parse, canonicalJson), which also says what
 * is wrong with a text: large ones, deep ones, names with escapes, objects of very many members, and all that is not JSON or not UTF-8.
 *
 * What it saves (test/bench, CPU-s per 1,000 events, medians): ingest 0.0615 with it and 0.0658 with JSON.parse at the peak
 * rate, 0.0665 and 0.0745 at half of it (9 runs in turn); a night 0.0748 with its canonical form and 0.0899 without.
 *
 * Strings and white space are read four bytes at a time, and copied so. The text therefore lies in room of its own, with zeros
 * behind it: no token holds a zero, so nothing is read past them, and no step has to look at the length.
 *
 * The pass leaves one node for each value, below in a table. For the canonical form the members of an object are linked in
 * the order of their names' bytes, which is that of code points, and of duplicates the last is left; for a reader they stay
 * in the order in which they came, so that of duplicates the last is read last.
 */
import { isUtf8 } from 'node:buffer';
import { maxNesting } from './json-text.ts';
import { escapedBytes, firstOf, wordBytes } from './quote-json.ts';

/** Texts and counts that it takes; they bound an object's sort. */
const maxBytes = 64 * 1024;
const maxNodes = 16 * 1024;
const maxMembers = 256;

const scalar = 0;
/** A string that holds escapes, of which the canonical form has the same. */
const escaped = 1;
/** A string that is to be written otherwise than it stands there: it holds `\u…` or `\/`. */
const rewritten = 2;
const object = 3;
const array = 4;

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const dot = 0x2e;
const slash = 0x2f;
const zero = 0x30;
const nine = 0x39;
const colon = 0x3a;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const letterF = 0x66;
const letterT = 0x74;
const letterU = 0x75;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const fourSpaces = 0x20202020;

/** Not taken, in place of a position. */
const notTaken = -1;

/**
 * One room for all texts, since one is read at a time. It is made with the module, and not as it is needed, because the
 * compiler then takes it for what never changes: that halves the time. Nothing lies in it until a text does.
 */
const text = Buffer.allocUnsafeSlow(maxBytes + wordBytes);
const words = new DataView(text.buffer);
const canonical = Buffer.allocUnsafeSlow(maxBytes + wordBytes);
const canonicalWords = new DataView(canonical.buffer);

/** A node is known by where its fields begin in the table; 0: none. */
const nodes = new Int32Array((maxNodes + 2) * 6);
const nodeSize = 6;
const kind = 0;
/** Of a member its name, without the quotes. */
const nameStart = 1;
const nameEnd = 2;
/** Of a scalar or a string its text. */
const valueStart = 3;
const valueEnd = 4;
/** Of an object or an array its first node, and of each of those the following one. */
const child = 3;
const next = 5;

const root = nodeSize;
const lastNode = root + maxNodes * nodeSize;
let used = root;
/** Whether an object's members are brought into the order of their names; else they stay as they came. */
let isSorting = true;

/**
 * The canonical form (canonical-json.ts) of UTF-8 bytes, or undefined where the general way is to be taken. The bytes
 * handed out are overwritten by the next call.
 */
export function quickCanonical(json: Uint8Array): Buffer | undefined {
  return scan(json, true) ? canonical.subarray(0, write(root, 0)) : undefined;
}

/** Members to pick, and those to pick of a member that is an object. */
export interface Picks {
  readonly [name: string]: true | Picks;
}

interface Pick {
  readonly name: string;
  readonly bytes: Buffer;
  readonly of: readonly Pick[];
}

/**
 * Makes a reader of these members alone. Of the text of an object it gives an object of those that are there, with
 * their values as JSON.parse gives them, but that all which was not asked for is left out: an object has the members
 * picked of it, and an array none. Undefined where the general way is to be taken, which any other text asks for.
 */
export function quickReader(picks: Picks): (json: Buffer) => Record<string, unknown> | undefined {
  const wanted = picksOf(picks);
  return (json) => (scan(json, false) && nodes[root + kind] === object ? pick(root, wanted) : undefined);
}

function picksOf(picks: Picks): Pick[] {
  return Object.entries(picks).map(([name, of]) => ({
    name,
    bytes: Buffer.from(name),
    of: of === true ? [] : picksOf(of),
  }));
}

function pick(node: number, wanted: readonly Pick[]): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  for (let member = nodes[node + child]!; member !== 0; member = nodes[member + next]!) {
    const found = findPick(nodes[member + nameStart]!, nodes[member + nameEnd]!, wanted);
    if (found === undefined) continue;
    const what = nodes[member + kind];
    if (what === object) picked[found.name] = pick(member, found.of);
    else if (what === array) picked[found.name] = [];
    else picked[found.name] = scalarOf(member);
  }
  return picked;
}

function scalarOf(node: number): unknown {
  const start = nodes[node + valueStart]!;
  const end = nodes[node + valueEnd]!;
  const first = text[start];
  if (first === quote && nodes[node + kind] === scalar) return text.toString('utf8', start + 1, end - 1);
  if (first === letterF || first === letterT) return first === letterT;
  return JSON.parse(text.toString('utf8', start, end));
}

function findPick(start: number, end: number, wanted: readonly Pick[]): Pick | undefined {
  for (const one of wanted) if (isName(start, end, one.bytes)) return one;
  return undefined;
}

function isName(start: number, end: number, name: Uint8Array): boolean {
  if (end - start !== name.length) return false;
  for (let at = 0; at < name.length; at++) if (text[start + at] !== name[at]) return false;
  return true;
}

/** Reads a text into the table; false where it is not taken. */
function scan(json: Uint8Array, sorting: boolean): boolean {
  if (json.length > maxBytes || !isUtf8(json)) return false;
  used = root;
  isSorting = sorting;
  text.set(json);
  words.setInt32(json.length, 0);
  const end = readValue(skipSpace(0), root, 0);
  return end !== notTaken && skipSpace(end) >= json.length;
}

/** Reads the value at a position into a node. Returns where it ends, or `notTaken`. */
function readValue(at: number, node: number, depth: number): number {
  const first = text[at]!;
  if (first === openBrace) return readObject(at, node, depth + 1);
  if (first === openBracket) return readArray(at, node, depth + 1);
  nodes[node + kind] = scalar;
  const end = first === quote ? readString(at, node) : isNumberStart(first) ? readNumber(at) : readLiteral(at);
  nodes[node + valueStart] = at;
  nodes[node + valueEnd] = end;
  return end;
}

function readObject(start: number, node: number, depth: number): number {
  if (depth > maxNesting) return notTaken;
  nodes[node + kind] = object;
  nodes[node + child] = 0;
  let at = skipSpace(start + 1);
  if (text[at] === closeBrace) return at + 1;
  let last = 0;
  for (let count = 1; count <= maxMembers; count++) {
    if (text[at] !== quote) return notTaken;
    // A name with escapes is not taken.
    const end = nextEscaped(at + 1);
    if (text[end] !== quote || used === lastNode) return notTaken;
    used += nodeSize;
    const member = used;
    nodes[member + nameStart] = at + 1;
    nodes[member + nameEnd] = end;
    at = skipSpace(end + 1);
    if (text[at] !== colon) return notTaken;
    at = readValue(skipSpace(at + 1), member, depth);
    if (at === notTaken) return notTaken;
    if (isSorting) link(node, last, member);
    else append(node, last, member);
    last = member;
    at = skipSpace(at);
    if (text[at] === closeBrace) return at + 1;
    if (text[at] !== comma) return notTaken;
    at = skipSpace(at + 1);
  }
  return notTaken;
}

function readArray(start: number, node: number, depth: number): number {
  if (depth > maxNesting) return notTaken;
  nodes[node + kind] = array;
  nodes[node + child] = 0;
  let at = skipSpace(start + 1);
  if (text[at] === closeBracket) return at + 1;
  let last = 0;
  while (used < lastNode) {
    used += nodeSize;
    const element = used;
    at = readValue(at, element, depth);
    if (at === notTaken) return notTaken;
    append(node, last, element);
    last = element;
    at = skipSpace(at);
    if (text[at] === closeBracket) return at + 1;
    if (text[at] !== comma) return notTaken;
    at = skipSpace(at + 1);
  }
  return notTaken;
}

/** Puts a node behind the last one. */
function append(parent: number, last: number, node: number): void {
  nodes[node + next] = 0;
  if (last === 0) nodes[parent + child] = node;
  else nodes[last + next] = node;
}

/** Puts a member in its place; `last` is the one that was put before it, where most belong. */
function link(node: number, last: number, member: number): void {
  // 0 stands for the place before the first.
  let before = last !== 0 && compareNames(last, member) < 0 ? last : 0;
  let after = before === 0 ? nodes[node + child]! : nodes[before + next]!;
  while (after !== 0) {
    const difference = compareNames(after, member);
    if (difference >= 0) {
      if (difference === 0) after = nodes[after + next]!;
      break;
    }
    before = after;
    after = nodes[after + next]!;
  }
  nodes[member + next] = after;
  if (before === 0) nodes[node + child] = member;
  else nodes[before + next] = member;
}

function compareNames(one: number, other: number): number {
  let a = nodes[one + nameStart]!;
  let b = nodes[other + nameStart]!;
  const aEnd = nodes[one + nameEnd]!;
  const bEnd = nodes[other + nameEnd]!;
  while (a < aEnd && b < bEnd) {
    const difference = text[a++]! - text[b++]!;
    if (difference !== 0) return difference;
  }
  return aEnd - a - (bEnd - b);
}

/** Where the next byte stands that a JSON string escapes: a quote, a backslash or a control character. */
function nextEscaped(start: number): number {
  for (let at = start; ; at += wordBytes) {
    const found = escapedBytes(words.getInt32(at, true));
    if (found !== 0) return at + firstOf(found);
  }
}

function readString(start: number, node: number): number {
  for (let at = nextEscaped(start + 1); ; at = nextEscaped(at)) {
    if (text[at] === quote) return at + 1;
    if (text[at] !== backslash) return notTaken;
    const letter = text[at + 1]!;
    if (letter === letterU) {
      for (let digit = at + 2; digit < at + 6; digit++) if (!isHexDigit(text[digit]!)) return notTaken;
      nodes[node + kind] = rewritten;
      at += 6;
      continue;
    }
    if (letter === slash) nodes[node + kind] = rewritten;
    else if (!isShortEscape(letter)) return notTaken;
    else if (nodes[node + kind] === scalar) nodes[node + kind] = escaped;
    at += 2;
  }
}

/** `"`, `\`, b, f, n, r, t: those that stand for what JSON.stringify would escape in the same way. */
function isShortEscape(byte: number): boolean {
  return (
    byte === quote ||
    byte === backslash ||
    byte === 0x62 ||
    byte === 0x66 ||
    byte === 0x6e ||
    byte === 0x72 ||
    byte === 0x74
  );
}

function isHexDigit(byte: number): boolean {
  return isDigit(byte) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= nine;
}

function isNumberStart(byte: number): boolean {
  return byte === minus || isDigit(byte);
}

/** -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? (RFC 8259, section 6) */
function readNumber(start: number): number {
  let at = text[start] === minus ? start + 1 : start;
  if (!isDigit(text[at]!)) return notTaken;
  at = text[at] === zero ? at + 1 : digitsEnd(at);
  if (text[at] === dot) {
    if (!isDigit(text[at + 1]!)) return notTaken;
    at = digitsEnd(at + 1);
  }
  if (text[at] === 0x65 || text[at] === 0x45) {
    at++;
    if (text[at] === 0x2b || text[at] === minus) at++;
    if (!isDigit(text[at]!)) return notTaken;
    at = digitsEnd(at);
  }
  return at;
}

function digitsEnd(start: number): number {
  let at = start;
  while (isDigit(text[at]!)) at++;
  return at;
}

/** The four bytes of these; of `false` the last four. */
const [wordNull, wordTrue, wordAlse] = ['null', 'true', 'alse'].map((letters) => Buffer.from(letters).readInt32LE());

function readLiteral(start: number): number {
  const word = words.getInt32(start, true);
  if (word === wordNull || word === wordTrue) return start + wordBytes;
  return text[start] === letterF && words.getInt32(start + 1, true) === wordAlse ? start + 1 + wordBytes : notTaken;
}

function skipSpace(start: number): number {
  let at = start;
  for (let byte = text[at]!; byte <= 0x20; byte = text[at]!) {
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at++;
    while (words.getInt32(at, true) === fourSpaces) at += wordBytes;
  }
  return at;
}

/** Writes a node's canonical form. Returns where it ends: never past the length of the text that was read. */
function write(node: number, start: number): number {
  const what = nodes[node + kind];
  if (what === scalar || what === escaped) return copy(nodes[node + valueStart]!, nodes[node + valueEnd]!, start);
  if (what === rewritten) {
    const written = text.toString('utf8', nodes[node + valueStart], nodes[node + valueEnd]);
    return start + canonical.write(JSON.stringify(JSON.parse(written)), start);
  }
  let at = start;
  canonical[at++] = what === object ? openBrace : openBracket;
  for (let each = nodes[node + child]!; each !== 0; each = nodes[each + next]!) {
    if (at > start + 1) canonical[at++] = comma;
    if (what === object) {
      at = copy(nodes[each + nameStart]! - 1, nodes[each + nameEnd]! + 1, at);
      canonical[at++] = colon;
    }
    at = write(each, at);
  }
  canonical[at++] = what === object ? closeBrace : closeBracket;
  return at;
}

/** Copies a piece of the text. Up to three bytes behind it are written, too, which whatever follows overwrites. */
function copy(start: number, end: number, to: number): number {
  for (let from = start, at = to; from < end; from += wordBytes, at += wordBytes) {
    canonicalWords.setInt32(at, words.getInt32(from));
  }
  return to + end - start;
}
