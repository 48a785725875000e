/** The signature schemes that there are. The one table: settings, ingest, the night, verify and doctor take theirs from it. */
import { cookieScheme } from './cookie.ts';
import { githubScheme } from './github.ts';
import { hmacScheme } from './hmac.ts';
import { pandaScheme } from './panda.ts';
import type { Scheme } from './scheme.ts';
import { shopifyScheme } from './shopify.ts';
import { slackScheme } from './slack.ts';
import { standardScheme } from './standard.ts';
import { stripeScheme } from './stripe.ts';

export const schemes = {
  stripe: stripeScheme,
  panda: pandaScheme,
  standard: standardScheme,
  github: githubScheme,
  shopify: shopifyScheme,
  slack: slackScheme,
  hmac: hmacScheme,
  // The last: whoever signs a request is not judged by a cookie that came along.
  cookie: cookieScheme,
} satisfies Record<string, Scheme>;

export type SchemeName = keyof typeof schemes;

export const schemeNames = Object.keys(schemes) as SchemeName[];

/** Undefined where this version has none of that name. */
export function schemeOf(name: SchemeName): Scheme;
export function schemeOf(name: string): Scheme | undefined;
export function schemeOf(name: string): Scheme | undefined {
  return Object.hasOwn(schemes, name) ? schemes[name as SchemeName] : undefined;
}
