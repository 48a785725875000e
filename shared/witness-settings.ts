/** COMPACTOR_TIMESTAMPS and COMPACTOR_WITNESSES: who sees the manifests from outside. Without a URL they are believed and not asked. */
import { z } from 'zod';
import { type NoteKey, parseWitnessKey } from './crypto/note-key.ts';
import { pem, textOrPath } from './setting-shapes.ts';

/** What comes back is signed, so plain http does no harm. */
const url = z
  .url({ protocol: /^https?$/, message: 'is not an http or https URL' })
  .refine((text) => URL.parse(text)?.username === '', 'may hold no user')
  .optional();

const key = z.string().transform((text, context): NoteKey => {
  const parsed = parseWitnessKey(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: 'custom', message: 'is not a key of a witness: name+id+base64, algorithm 4' });
  return z.NEVER;
});

export const timestampsSchema = z.strictObject({ url, roots: textOrPath(pem) });

export const witnessesSchema = z.strictObject({
  origin: z.string().regex(/^[^\s+\p{Cc}]{1,255}$/u, 'must be one word without +, as example.com/daybook'),
  witnesses: z.array(z.strictObject({ url, key })).min(1, 'names none'),
});
