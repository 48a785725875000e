/**
 * The body of an event without what its readers must not see. A value that is taken out, hashed or cut often stands in a
 * text of the same event, too (a customer's name in a description): there it gives way to `[removed]`.
 */
import { createHmac } from 'node:crypto';
import { maxNesting, nestingOf } from '../../shared/json/json-text.ts';
import type { Action, PathRule, RuleFinder } from './rules.ts';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json | undefined };
export type JsonObject = { [name: string]: Json | undefined };

/** Why an event cannot be redacted. Holds nothing of the event. */
export class NotRedactable extends Error {}

/** The object that the bytes hold. Throws NotRedactable. */
export function parseBody(data: Buffer): JsonObject {
  if (nestingOf(data) > maxNesting) throw new NotRedactable('data is nested too deeply');
  const text = data.toString();
  let body: unknown;
  try {
    body = longNumber.test(text) ? JSON.parse(text, keepNumber as never) : JSON.parse(text);
  } catch {
    // What the parser says quotes the text.
    throw new NotRedactable('data is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new NotRedactable('data is not an object');
  return body as JsonObject;
}

/** More digits than a number of JavaScript's is sure to keep. */
const longNumber = /[\d.]{16}/;

/** A number that would change becomes the text that it was written as: search clusters keep no more digits either. */
function keepNumber(_: string, value: unknown, { source }: { readonly source?: string }): unknown {
  return typeof value === 'number' && source !== undefined && source.length > 15 && String(value) !== source
    ? source
    : value;
}

/** The JSON text of the body, redacted. Changes the body. Throws NotRedactable. */
export function redactBody(body: JsonObject, ruleOf: RuleFinder, hashKey: string | undefined): string {
  const taken = new Set<string>();
  const above: string[] = [];

  function visit(value: Json | undefined): void {
    if (typeof value !== 'object' || value === null) return;
    if (Array.isArray(value)) {
      for (const element of value) visit(element);
      return;
    }
    for (const name of Object.keys(value)) {
      const member = value[name];
      const rule = ruleOf(name, above);
      if (rule === undefined || rule.action.does === 'keep') {
        above.push(name);
        visit(member);
        above.pop();
      } else value[name] = rule.action.does === 'remove' ? removed(member) : changed(member, rule, rule.action);
    }
  }

  function removed(value: Json | undefined): undefined {
    if (typeof value === 'string') taken.add(value);
    else if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) removed(each);
    return undefined;
  }

  function changed(value: Json | undefined, rule: PathRule, action: Action): Json | undefined {
    if (value === null || value === undefined) return value;
    if (Array.isArray(value)) return value.map((element) => changed(element, rule, action) as Json);
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

  visit(body);
  const text = JSON.stringify(body);
  const found = standingIn(text, taken);
  if (found.length === 0) return text;
  const anyOfThem = new RegExp(`(?<![\\p{L}\\p{N}])(?:${found.join('|')})(?![\\p{L}\\p{N}])`, 'giu');
  return JSON.stringify(body, (_, value) =>
    typeof value === 'string' && isProse.test(value) ? value.replaceAll(anyOfThem, '[removed]') : value,
  );
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
