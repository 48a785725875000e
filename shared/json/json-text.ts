/**
 * Parts of a JSON text, verbatim: the archive keeps numbers, escapes and white space as their sender wrote them, which
 * JSON.parse loses. Nothing here validates: hand in text that JSON.parse accepted, else the result is unspecified
 * (though every function ends, in time linear in the text).
 */

/** Deepest nesting of a body that is taken: stock jq 1.6 reads no more than 256, and an envelope adds its own. */
export const maxNesting = 200;

const quote = 0x22;
const comma = 0x2c;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** The verbatim text of each element of a JSON array, without the white space around it. */
export function elementTexts(arrayText: string): string[] {
  const elements: string[] = [];
  let at = skipSpace(arrayText, skipSpace(arrayText, 0) + 1);
  while (at < arrayText.length && arrayText.charCodeAt(at) !== closeBracket) {
    const end = valueEnd(arrayText, at);
    elements.push(arrayText.slice(at, end));
    const next = skipSpace(arrayText, end);
    if (arrayText.charCodeAt(next) !== comma) break;
    at = skipSpace(arrayText, next + 1);
  }
  return elements;
}

/**
 * The verbatim text of a member's value in a JSON object, without the white space around it; undefined where there is
 * no such member. Of duplicates the last, as in JSON.parse. Only the object's own members, not those of nested ones.
 */
export function memberText(objectText: string, name: string): string | undefined {
  const span = memberSpan(objectText, name);
  return span && objectText.slice(...span);
}

/** Where that value begins in the object's text, and where it ends (exclusive). */
export function memberSpan(objectText: string, name: string): [start: number, end: number] | undefined {
  let found: [number, number] | undefined;
  let at = skipSpace(objectText, skipSpace(objectText, 0) + 1);
  while (at < objectText.length && objectText.charCodeAt(at) !== closeBrace) {
    const nameEnd = stringEnd(objectText, at);
    const written = objectText.slice(at + 1, nameEnd - 1);
    const start = skipSpace(objectText, skipSpace(objectText, nameEnd) + 1); // past the colon
    const end = valueEnd(objectText, start);
    if (written === name || (written.includes('\\') && JSON.parse(`"${written}"`) === name)) {
      found = [start, end];
    }
    const next = skipSpace(objectText, end);
    if (objectText.charCodeAt(next) !== comma) break;
    at = skipSpace(objectText, next + 1);
  }
  return found;
}

/**
 * The deepest nesting of brackets outside strings: 0 for a bare string, 1 for `{}`, 2 for `[[]]`. Takes any bytes,
 * so that a body can be refused before a parser meets it. About 1 ns a byte.
 */
export function nestingOf(bytes: Uint8Array): number {
  const end = bytes.length;
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === quote) {
      for (at++; at < end && bytes[at] !== quote; at++) if (bytes[at] === backslash) at++;
    } else if (byte >= openBracket) {
      if (byte === openBrace || byte === openBracket) {
        depth++;
        if (depth > deepest) deepest = depth;
      } else if (byte === closeBrace || byte === closeBracket) depth--;
    }
  }
  return deepest;
}

/** Where the value that begins at `start` ends (exclusive). */
function valueEnd(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === quote) return stringEnd(text, start);
  if (first !== openBrace && first !== openBracket) return scalarEnd(text, start);
  let depth = 0;
  let at = start;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = stringEnd(text, at);
      continue;
    }
    at++;
    if (code === openBrace || code === openBracket) depth++;
    else if (code === closeBrace || code === closeBracket) {
      depth--;
      if (depth === 0) return at;
    }
  }
  return text.length;
}

/** Where a number, true, false or null ends: at a comma, a closing bracket or white space. */
function scalarEnd(text: string, start: number): number {
  let at = start;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === comma || code === closeBrace || code === closeBracket || isSpace(code)) break;
    at++;
  }
  // A text that is not JSON could begin a scalar with a bracket: always move on.
  return at === start ? start + 1 : at;
}

/** Past the closing quote of the string whose opening quote stands at `start`. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quote) return at + 1;
    at += code === backslash ? 2 : 1;
  }
  return text.length;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && isSpace(text.charCodeAt(at))) at++;
  return at;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}
