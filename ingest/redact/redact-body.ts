/**
 * The body of an event without what its readers must not see. A value that is taken out, hashed or cut often stands in a
 * text of the same event, too (a customer's name in a description): there it gives way to `[removed]`.
 */
import { createHmac } from 'node:crypto';
import { maxNesting } from '../../shared/json/json-text.ts';
import type { Action, PathRule, RuleFinder } from './rules.ts';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json | undefined };
export type JsonObject = { [name: string]: Json | undefined };

/** Why an event cannot be redacted. Holds nothing of the event. */
export class NotRedactable extends Error {}

/** The object that the bytes hold. Throws NotRedactable. */
export function parseBody(data: Buffer): JsonObject {
  const text = data.toString();
  let body: unknown;
  try {
    body = hasLongNumber(data) ? JSON.parse(text, keepNumber as never) : JSON.parse(text);
  } catch {
    // What the parser says quotes the text.
    throw new NotRedactable('data is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new NotRedactable('data is not an object');
  return body as JsonObject;
}

const quote = 0x22;
const backslash = 0x5c;
const zero = 0x30;
const nine = 0x39;
const dot = 0x2e;

/** Whether a number has more digits than JavaScript is sure to keep. About 1 ns a byte. */
function hasLongNumber(json: Uint8Array): boolean {
  let length = 0;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!;
    if (byte === quote) for (at++; at < json.length && json[at] !== quote; at++) if (json[at] === backslash) at++;
    length = (byte >= zero && byte <= nine) || byte === dot ? length + 1 : 0;
    if (length > maxDigits) return true;
  }
  return false;
}

/** Of any number so long, the point included, JavaScript keeps each digit. */
const maxDigits = 15;

/** A number that would change becomes the text that it was written as: search clusters keep no more digits either. */
function keepNumber(_: string, value: unknown, { source }: { readonly source?: string }): unknown {
  return typeof value === 'number' && source !== undefined && source.length > maxDigits && String(value) !== source
    ? source
    : value;
}

/** The JSON text of the body, redacted. Changes the body. Throws NotRedactable. */
export function redactBody(body: JsonObject, ruleOf: RuleFinder, hashKey: string | undefined): string {
  const taken = new Set<string>();
  const above: string[] = [];

  function visit(value: Json | undefined, depth: number): void {
    if (typeof value !== 'object' || value === null) return;
    refuseDeep(depth);
    if (Array.isArray(value)) {
      for (const element of value) visit(element, depth + 1);
      return;
    }
    for (const name of Object.keys(value)) {
      const member = value[name];
      const rule = ruleOf(name, above);
      if (rule === undefined || rule.action.does === 'keep') {
        above.push(name);
        visit(member, depth + 1);
        above.pop();
      } else
        value[name] =
          rule.action.does === 'remove' ? removed(member, depth + 1) : changed(member, rule, rule.action, depth + 1);
    }
  }

  function removed(value: Json | undefined, depth: number): undefined {
    if (typeof value === 'string') taken.add(value);
    if (typeof value !== 'object' || value === null) return;
    refuseDeep(depth);
    for (const each of Object.values(value)) removed(each, depth + 1);
  }

  function changed(value: Json | undefined, rule: PathRule, action: Action, depth: number): Json | undefined {
    if (value === null || value === undefined) return value;
    if (Array.isArray(value)) {
      refuseDeep(depth);
      return value.map((element) => changed(element, rule, action, depth + 1) as Json);
    }
    if (typeof value === 'object') throw new NotRedactable(`${action.does} ${rule.path}: the value is an object`);
    if (typeof value === 'string') taken.add(value);
    if (action.does !== 'truncate') return hashOf(String(value), hashKey);
    if (typeof value !== 'string') throw new NotRedactable(`truncate ${rule.path}: the value is not a text`);
    const characters = [...value];
    if (characters.length <= action.characters) {
      taken.delete(value);
      return value;
    }
    return `${characters.slice(0, action.characters).join('')}…`;
  }

  visit(body, 1);
  const text = JSON.stringify(body);
  const found = standingIn(text, taken);
  if (found.length === 0) return text;
  const anyOfThem = new RegExp(`(?<![\\p{L}\\p{N}])(?:${found.join('|')})(?![\\p{L}\\p{N}])`, 'giu');
  return JSON.stringify(body, (_, value) =>
    typeof value === 'string' && isProse.test(value) ? value.replaceAll(anyOfThem, '[removed]') : value,
  );
}

/** Before the stack is used up. */
function refuseDeep(depth: number): void {
  if (depth > maxNesting) throw new NotRedactable('data is nested too deeply');
}

function hashOf(text: string, key: string | undefined): string {
  // The configuration asks for a key where a rule hashes.
  return `hmac-sha256:${createHmac('sha256', key!).update(text).digest('hex')}`;
}

/** Ids, codes and amounts have neither: a value that happens to be part of one of them stays. */
const isProse = /[\s@]/;
/** Shorter ones are country codes and the like. */
const minTakenCharacters = 4;

/** Those of the values that the JSON text may hold, longest first, as parts of a regular expression. */
function standingIn(text: string, taken: ReadonlySet<string>): string[] {
  let lower: string | undefined;
  const found: string[] = [];
  for (const value of taken) {
    const trimmed = value.trim();
    if (trimmed.length < minTakenCharacters) continue;
    lower ??= text.toLowerCase();
    if (lower.includes(JSON.stringify(trimmed.toLowerCase()).slice(1, -1))) found.push(trimmed);
  }
  return found.sort((a, b) => b.length - a.length).map((value) => value.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'));
}
