import { isUtf8 } from 'node:buffer';
import { DaybookError } from '../../shared/errors.ts';
import { maxNesting, nestingOf } from '../../shared/json/json-text.ts';

/**
 * The text and the value of a body, or `body_malformed`. A byte order mark, bytes that are not UTF-8 and deep nesting
 * are refused before a parser meets them.
 */
export function parseJsonBody(body: Buffer): { readonly text: string; readonly value: unknown } {
  if (body.length === 0) throw malformed('The body is empty.');
  if (body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf) throw malformed('There is a byte order mark.');
  if (!isUtf8(body)) throw malformed('The body is not UTF-8.');
  if (nestingOf(body) > maxNesting) throw malformed(`The body is nested more than ${maxNesting} deep.`);
  const text = body.toString('utf8');
  try {
    return { text, value: JSON.parse(text) };
  } catch {
    // The parser's message quotes the body.
    throw malformed('The body is not JSON.');
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(detail: string): DaybookError {
  return new DaybookError('body_malformed', { detail });
}
