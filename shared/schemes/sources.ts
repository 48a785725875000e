/** The sources of DAYBOOK_SOURCES: who sends, how it signs, and where its missed events can be asked for. */
import { z } from 'zod';
import { addressRange } from '../address-list.ts';
import { inPlainWords } from '../setting-shapes.ts';
import { cookieSchemeOf } from './cookie.ts';
import { hmacSchemeOf } from './hmac.ts';
import { resolvePublicKeys } from './public-keys.ts';
import type { Scheme } from './scheme.ts';
import { type SchemeName, schemeNames, schemeOf, type schemes } from './schemes.ts';
import { resolveSecrets, type Secret } from './secrets.ts';
import { stripeScheme } from './stripe.ts';

export type StripeSource = z.infer<typeof stripeScheme.source>;
export type Source = z.infer<(typeof schemes)[SchemeName]['source']> & {
  /** Addresses and CIDR ranges of those who may call; undefined: anybody may. */
  readonly allow?: readonly string[];
};

/** A member that a source of any scheme may have, beside those of the scheme. */
const allow = z.array(addressRange).min(1, 'names nobody: without `allow` anybody may call');

/** How the source signs. */
export function schemeOfSource(source: Source): Scheme {
  if (source.scheme === 'cookie') return cookieSchemeOf(source);
  return source.scheme === 'hmac' ? hmacSchemeOf(source) : schemeOf(source.scheme);
}

/** Of a source whose scheme does not exist: what is wrong beside it is said at once. */
const withoutScheme = stripeScheme.source.extend({
  scheme: z.enum(
    schemeNames,
    `must be ${schemeNames.slice(0, -1).join(', ')} or ${schemeNames.at(-1)}: others are not available in this version`,
  ),
});

export const sourcesSchema = z
  .array(z.unknown())
  .min(1, 'names no source')
  .transform((values, context): Source[] => {
    const firstOf = new Map<unknown, number>();
    return values.flatMap((value, index) => {
      const { scheme, name } = (value ?? {}) as { readonly scheme?: unknown; readonly name?: unknown };
      const { callers, own } = withoutCallers(value);
      const shape = schemeOf(String(scheme))?.source ?? withoutScheme;
      const parsed = (shape as z.ZodType<Source>).safeParse(own, { error: inPlainWords });
      const allowed = callers === undefined ? undefined : allow.safeParse(callers, { error: inPlainWords });
      for (const { path, message } of parsed.error?.issues ?? []) {
        context.addIssue({ code: 'custom', path: [index, ...path], message });
      }
      for (const { path, message } of allowed?.error?.issues ?? []) {
        context.addIssue({ code: 'custom', path: [index, 'allow', ...path], message });
      }
      const first = firstOf.get(name);
      if (first === undefined) firstOf.set(name, index);
      else if (typeof name === 'string') {
        context.addIssue({ code: 'custom', path: [index, 'name'], message: `is the name of source [${first}] too` });
      }
      if (parsed.data === undefined) return [];
      return [allowed?.data === undefined ? parsed.data : { ...parsed.data, allow: allowed.data }];
    });
  });

function withoutCallers(value: unknown): { readonly callers?: unknown; readonly own: unknown } {
  if (typeof value !== 'object' || value === null || !('allow' in value)) return { own: value };
  const { allow: callers, ...own } = value;
  return { callers, own };
}

/** What verifies a source's deliveries, as far as it is at hand. What cannot be had adds its line to `problems`. */
export function secretsOf(
  source: Source,
  where: string,
  environment: Readonly<Record<string, string | undefined>>,
  problems: string[],
): Secret[] {
  if (source.scheme !== 'cookie') return resolveSecrets(source.secrets, `${where}.secrets`, environment, problems);
  return resolvePublicKeys(source.publicKeys, `${where}.publicKeys`, environment, problems);
}
