/** The sources of DAYBOOK_SOURCES: who sends, how it signs, and where its missed events can be asked for. */
import { z } from 'zod';
import { parseInstant } from '../clock.ts';

const sourceName = /^[a-z][a-z0-9-]{0,39}$/;
const reservedNames: ReadonlySet<string> = new Set(['manifests', 'quarantine']);

/** Whether a name can stand in paths and object keys: the pattern, and none of the archive's own folders. */
export function isSourceName(name: string): boolean {
  return sourceName.test(name) && !reservedNames.has(name);
}

const notAfter = z
  .string()
  .refine((text) => parseInstant(text) !== undefined, 'is no RFC 3339 date-time')
  .optional();
const secretText = z.string().min(1, 'is empty');

/** A secret's text, or where it is to be found. */
const secretReference = z.union(
  [
    secretText,
    z.strictObject({ env: z.string().min(1), notAfter }),
    z.strictObject({ file: z.string().min(1), notAfter }),
    z.strictObject({ value: secretText, notAfter }),
  ],
  'must be a text that is not empty, {"env":"NAME"}, {"file":"path"} or {"value":"text"}, the latter three with notAfter (RFC 3339) or without',
);
export type SecretReference = z.infer<typeof secretReference>;

const name = z.string().refine(isSourceName, 'must match [a-z][a-z0-9-]{0,39} and be neither manifests nor quarantine');
const secrets = z.array(secretReference).min(1, 'needs at least one secret');

const stripeSource = z.strictObject({
  name,
  scheme: z.literal('stripe'),
  secrets,
  mode: z.enum(['live', 'test']).optional(),
  apiKey: secretReference.optional(),
  /** Connected accounts whose events are listed in the place of the key's own; `all`: those that Stripe names. */
  accounts: z
    .union([
      z.literal('all'),
      z.array(z.string().regex(/^acct_\w+$/, 'is no account id (acct_…)')).min(1, 'names no account'),
    ])
    .optional(),
  /** Lists thin events too before the first of them was delivered. */
  thinEvents: z.boolean().optional(),
});

const pandaSource = z.strictObject({ name, scheme: z.literal('panda'), secrets });

export type StripeSource = z.infer<typeof stripeSource>;
export type PandaSource = z.infer<typeof pandaSource>;
export type Source = StripeSource | PandaSource;

const schemes = { stripe: stripeSource, panda: pandaSource };
const schemeNames = Object.keys(schemes);

/** Of a source whose scheme does not exist: what is wrong beside it is said at once. */
const ofNoScheme = stripeSource.extend({
  scheme: z.enum(schemeNames, `must be ${schemeNames.join(' or ')}: others are not available in this version`),
});

export const sourcesSchema = z
  .array(z.unknown())
  .min(1, 'names no source')
  .transform((values, context): Source[] => {
    const firstOf = new Map<unknown, number>();
    return values.flatMap((value, index) => {
      const { scheme, name } = (value ?? {}) as { readonly scheme?: unknown; readonly name?: unknown };
      const shape = Object.hasOwn(schemes, String(scheme)) ? schemes[scheme as keyof typeof schemes] : ofNoScheme;
      const parsed = (shape as z.ZodType<Source>).safeParse(value);
      for (const { path, message } of parsed.error?.issues ?? []) {
        context.addIssue({ code: 'custom', path: [index, ...path], message });
      }
      const first = firstOf.get(name);
      if (first === undefined) firstOf.set(name, index);
      else if (typeof name === 'string') {
        context.addIssue({ code: 'custom', path: [index, 'name'], message: `is the name of source [${first}] too` });
      }
      return parsed.data ?? [];
    });
  });
