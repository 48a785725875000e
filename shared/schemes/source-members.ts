/** What every source of DAYBOOK_SOURCES has: its name and its secrets. */
import { z } from 'zod';
import { parseInstant } from '../clock.ts';

const sourceName = /^[a-z][a-z0-9-]{0,39}$/;
const reservedNames: ReadonlySet<string> = new Set(['manifests', 'quarantine', 'anchors']);

/** Whether a name can stand in paths and object keys: the pattern, and none of the archive's own folders. */
export function isSourceName(name: string): boolean {
  return sourceName.test(name) && !reservedNames.has(name);
}

const notAfter = z
  .string()
  .refine((text) => parseInstant(text) !== undefined, 'is not an RFC 3339 date-time')
  .optional();
const secretText = z.string().min(1, 'is empty');

/** A secret's text, or where it is to be found. */
export const secretReference = z.union(
  [
    secretText,
    z.strictObject({ env: z.string().min(1), notAfter }),
    z.strictObject({ file: z.string().min(1), notAfter }),
    z.strictObject({ value: secretText, notAfter }),
  ],
  'must be a text that is not empty, {"env":"NAME"}, {"file":"path"} or {"value":"text"}, the latter three with notAfter (RFC 3339) or without',
);
export type SecretReference = z.infer<typeof secretReference>;

export const name = z
  .string()
  .refine(isSourceName, 'must match [a-z][a-z0-9-]{0,39} and be none of manifests, quarantine and anchors');
export const secrets = z.array(secretReference).min(1, 'needs at least one secret');
