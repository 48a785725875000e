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
const secretReference = z.union([
  secretText,
  z.strictObject({ env: z.string().min(1), notAfter }),
  z.strictObject({ file: z.string().min(1), notAfter }),
  z.strictObject({ value: secretText, notAfter }),
]);
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

const laterSource = z
  .looseObject({ name, scheme: z.enum(['standard', 'github', 'shopify', 'slack']) })
  .refine(() => false, 'has a scheme that is not available in this version of daybook (stripe and panda are)');

export type StripeSource = z.infer<typeof stripeSource>;
export type PandaSource = z.infer<typeof pandaSource>;
export type Source = StripeSource | PandaSource;

export const sourcesSchema = z
  .array(z.discriminatedUnion('scheme', [stripeSource, pandaSource, laterSource]))
  .min(1, 'names no source')
  .refine((sources) => new Set(sources.map((source) => source.name)).size === sources.length, 'has a name twice')
  .transform((sources) => sources as Source[]);
