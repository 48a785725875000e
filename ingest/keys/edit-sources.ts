/** A sources file with the secrets of one source changed, and every other character as somebody wrote it. */
import { elementTexts, memberSpan } from '../../shared/json/json-text.ts';
import type { SecretReference } from '../../shared/schemes/source-members.ts';

/** A source's list with a new first secret; all others end at `endsAt` (RFC 3339), unless they do so before. */
export function rotated(
  references: readonly SecretReference[],
  newest: SecretReference,
  endsAt: string,
): SecretReference[] {
  return [newest, ...references.map((reference) => ending(reference, endsAt))];
}

/** The same one where it ends before that already. */
function ending(reference: SecretReference, endsAt: string): SecretReference {
  if (typeof reference === 'string') return { value: reference, notAfter: endsAt };
  const { notAfter } = reference;
  return notAfter !== undefined && Date.parse(notAfter) <= Date.parse(endsAt)
    ? reference
    : { ...reference, notAfter: endsAt };
}

/** `text`: sound sources, of which the one named has the secrets `before`. Those that stay the same keep their text. */
export function withSecrets(
  text: string,
  name: string,
  before: readonly SecretReference[],
  secrets: readonly SecretReference[],
): string {
  let from = 0;
  for (const element of elementTexts(text)) {
    // Between two elements there is nothing but white space and a comma.
    const start = text.indexOf(element, from);
    from = start + element.length;
    if (JSON.parse(element).name !== name) continue;
    const [first, end] = memberSpan(element, 'secrets')!;
    const list = element.slice(first, end);
    const written = elementTexts(list);
    const texts = secrets.map((secret) => written[before.indexOf(secret)] ?? textOf(secret));
    return text.slice(0, start + first) + listLike(list, texts) + text.slice(start + end);
  }
  throw new Error(`no source is named ${name}`);
}

/** On one line, or a line for each, as the list was. */
function listLike(list: string, texts: readonly string[]): string {
  const indent = /^\[(\s*\n\s*)/.exec(list)?.[1];
  if (indent === undefined) return `[${texts.join(', ')}]`;
  return `[${indent}${texts.join(`,${indent}`)}${/(\s*)\]$/.exec(list)![1]}]`;
}

export function textOf(secret: SecretReference): string {
  if (typeof secret === 'string') return JSON.stringify(secret);
  const members = Object.entries(secret).filter(([, value]) => value !== undefined);
  return `{ ${members.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(', ')} }`;
}
