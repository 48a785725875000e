/** JSON texts as senders may write them, and an independent reference of their canonical form. */
import fc from 'fast-check';

// --- an independent reference. It decodes names itself: JSON.parse of Node 24.21 may answer a wrong one (see below)

const token = /\s*([[\]{},:]|"(?:[^"\\]|\\.)*"|[^\s[\]{},:"]+)/gy;

export function reference(text: string): string {
  const tokens = Array.from(text.matchAll(token), (match) => match[1]!);
  const value = (): string => {
    const first = tokens.shift()!;
    if (first.startsWith('"')) return JSON.stringify(decoded(first));
    if (first === '[') {
      const elements: string[] = [];
      while (tokens[0] !== ']') {
        elements.push(value());
        if (tokens[0] === ',') tokens.shift();
      }
      tokens.shift();
      return `[${elements.join(',')}]`;
    }
    if (first !== '{') return first;
    const members = new Map<string, string>();
    while (tokens[0] !== '}') {
      const name = decoded(tokens.shift()!);
      tokens.shift();
      members.set(name, value());
      if (tokens[0] === ',') tokens.shift();
    }
    tokens.shift();
    const names = [...members.keys()].sort(byCodePoints);
    return `{${names.map((name) => `${JSON.stringify(name)}:${members.get(name)}`).join(',')}}`;
  };
  return value();
}

const escapes: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

function decoded(quoted: string): string {
  return quoted
    .slice(1, -1)
    .replace(/\\(?:u(.{4})|(.))/g, (_, hex?: string, letter?: string) =>
      hex === undefined ? (escapes[letter!] ?? letter!) : String.fromCharCode(Number.parseInt(hex, 16)),
    );
}

function byCodePoints(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => Array.from(text, (character) => character.codePointAt(0)!)) as [
    number[],
    number[],
  ];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    if (left[at] !== right[at]) return left[at]! - right[at]!;
  }
  return left.length - right.length;
}

// --- texts that a sender may write, as opposed to those that JSON.stringify writes

export const gap = fc.constantFrom('', ' ', '\n', '\t\r\n ');
const numberText = fc.oneof(
  fc.constantFrom('0', '-0', '1.10', '1e400', '1E5', '-1e-400', '0.1e+07', '12345678901234567890', '9007199254740993'),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => JSON.stringify(number)),
  fc.maxSafeInteger().map(String),
);
const characterText = fc.oneof(
  fc.constantFrom('a', 'b', 'Z', '0', '1', ' ', '!', '/', '\\/', '\\"', '\\\\', '\\n', '\\u0061', '\\u000A', '\\u001f'),
  fc.constantFrom(
    'é',
    '\u2028',
    '\u007f',
    '\ufffd',
    '\uff5e',
    '😀',
    '𐀀',
    '\\ud83d\\ude00',
    '\\uD800',
    '\\udfff',
    '\ud800',
  ),
);
const stringText = fc.oneof(
  fc.array(characterText, { maxLength: 6 }).map((characters) => `"${characters.join('')}"`),
  fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
  fc.constantFrom('"__proto__"', '"constructor"', '"0"', '"1"', '"10"', '"2"', '"-1"', '"01"', '"4294967295"', '""'),
);
export const { value: jsonText } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(numberText, stringText, fc.constantFrom('true', 'false', 'null')),
    tie('array'),
    tie('object'),
  ),
  array: fc
    .tuple(fc.array(tie('value'), { maxLength: 4 }), gap)
    .map(([values, space]) => `[${space}${values.join(`${space},${space}`)}${space}]`),
  object: fc
    .tuple(fc.array(fc.tuple(stringText, tie('value')), { maxLength: 60, size: 'small' }), gap)
    .map(([members, space]) => {
      const texts = members.map(([name, value]) => `${name}${space}:${space}${value}`);
      return `{${space}${texts.join(`${space},${space}`)}${space}}`;
    }),
}));
