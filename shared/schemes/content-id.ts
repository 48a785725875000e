import { createHash } from 'node:crypto';
import { canonicalJson } from '../json/canonical-json.ts';

/** An event without an id of its own is known by its content: two equal elements are one event. */
export function contentId(text: string): string {
  return `sha256-${createHash('sha256').update(canonicalJson(text)).digest('hex').slice(0, 32)}`;
}
