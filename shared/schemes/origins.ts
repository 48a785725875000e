/** Which pages may send: origins (RFC 6454) against the `origins` of a source. */
import { z } from 'zod';

/** Lower case, two labels at least. */
export const domainName = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]*[a-z0-9]$/;
const loopback = /^http:\/\/(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$/;

/**
 * `example.com`: pages of that host and of every host below it, by https at its usual port. `https://example.com:8443`: that
 * origin alone; http on loopback only, since anybody on the way could write into another page.
 */
export const originRules = z
  .array(
    z
      .string()
      .refine(
        (text) =>
          domainName.test(text) ||
          loopback.test(text) ||
          (/^https:\/\//.test(text) && URL.parse(text)?.origin === text),
        'must be a domain in lower case (example.com), or an origin (https://example.com:8443; http on loopback only)',
      ),
  )
  .min(1, 'names no origin');

/** Of an Origin header as browsers send it. */
export function isAllowedOrigin(origin: string, rules: readonly string[]): boolean {
  const host = /^https:\/\/([a-z0-9.-]+)$/.exec(origin)?.[1];
  if (host !== undefined && rules.some((rule) => host === rule || host.endsWith(`.${rule}`))) return true;
  return origin.includes('://') && rules.includes(origin);
}
