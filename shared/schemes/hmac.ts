/**
 * Any other sender that signs the body by HMAC, described by its source:
 *
 *   {"name":"acme","scheme":"hmac","secrets":[…],"header":"X-Acme-Signature","prefix":"sha256=","encoding":"hex"|"base64",
 *    "algorithm":"sha256"|"sha512","template":"{timestamp}.{body}","timestampHeader":"X-Acme-Timestamp","idHeader":…,
 *    "toleranceSeconds":300}
 *
 * Left out: no prefix, hex, sha256, `{body}`, 300 s. `verify --secrets` checks evidence by the same members: whoever changes
 * them gives the source another name.
 */
import { z } from 'zod';
import { bodySignatureScheme } from './body-signature.ts';
import { typeOr } from './event-facts.ts';
import { keyFaults, makeKey } from './key-faults.ts';
import type { Scheme } from './scheme.ts';
import { name, secrets } from './source-members.ts';

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,64}$/, 'is not the name of a header')
  .transform((text) => text.toLowerCase());

const source = z
  .strictObject({
    name,
    scheme: z.literal('hmac'),
    secrets,
    header: headerName,
    /** No `;`, which parts the headers of evidence. */
    prefix: z
      .string()
      .regex(/^[ -:<-~]{0,32}$/, 'must have at most 32 characters of ASCII, and no ;')
      .default(''),
    encoding: z.enum(['hex', 'base64'], 'must be hex or base64').default('hex'),
    algorithm: z.enum(['sha256', 'sha512'], 'must be sha256 or sha512').default('sha256'),
    template: z.string().max(200).default('{body}'),
    timestampHeader: headerName.optional(),
    idHeader: headerName.optional(),
    toleranceSeconds: z.int().min(1).max(86_400).optional(),
  })
  .superRefine((given, context) => {
    for (const [member, message] of faultsOf(given)) context.addIssue({ code: 'custom', path: [member], message });
  });

export type HmacSource = z.infer<typeof source>;

/** What does not fit together: the member, and what is wrong with it. */
function faultsOf({ template, timestampHeader, idHeader, header, toleranceSeconds }: HmacSource): [string, string][] {
  const faults: [string, string][] = [];
  const count = (placeholder: string) => template.split(placeholder).length - 1;
  if (count('{body}') !== 1)
    faults.push(['template', 'must have {body} once: what does not sign the body proves no event']);
  if (Math.max(count('{timestamp}'), count('{id}'), count('{path}')) > 1) {
    faults.push(['template', 'must have each of {timestamp}, {id} and {path} once at most']);
  }
  if (/[{}]/.test(template.replaceAll(/\{(?:body|timestamp|id|path)\}/g, ''))) {
    faults.push(['template', 'must have no braces but those of {body}, {timestamp}, {id} and {path}']);
  }
  // Else one signed text could be read in two ways: the end of the one as the start of the other.
  if (/\{(?:timestamp|id|path)\}[A-Za-z0-9]*\{(?:timestamp|id|path)\}/.test(template)) {
    faults.push(['template', 'must have a mark such as . or : between {timestamp}, {id} and {path}']);
  }
  for (const [placeholder, member, given] of [
    ['{timestamp}', 'timestampHeader', timestampHeader],
    ['{id}', 'idHeader', idHeader],
  ] as const) {
    if (given === undefined && count(placeholder) > 0) {
      faults.push([member, `must name the header that ${placeholder} of the template is taken from`]);
    }
    if (given !== undefined && count(placeholder) === 0) {
      faults.push([member, `names a header that is not signed: the template has no ${placeholder}`]);
    }
  }
  const names = [header, timestampHeader, idHeader].filter((one) => one !== undefined);
  if (new Set(names).size < names.length) faults.push(['header', 'is the name of another header of this source too']);
  if (toleranceSeconds !== undefined && count('{timestamp}') === 0) {
    faults.push(['toleranceSeconds', 'is of no use: the template has no {timestamp}']);
  }
  return faults;
}

const common = {
  sender: 'a sender of scheme hmac',
  routes: ['webhooks'],
  source,
  checkSecret: (text) => keyFaults(text, 'hmac'),
  makeSecret: makeKey,
} satisfies Partial<Scheme>;

/** Of all its sources together; how one of them signs is known of that source alone, hence `hmacSchemeOf`. */
export const hmacScheme = {
  ...common,
  kind: 'events',
  headers: [],
  verify: () => ({ code: 'credentials_missing' }),
  holds: () => false,
} satisfies Scheme;

/** How the source signs. */
export function hmacSchemeOf(given: HmacSource): Scheme {
  const { header: signature, timestampHeader: timestamp, idHeader: id, prefix, encoding, algorithm, template } = given;
  const { toleranceSeconds } = given;
  const places = [
    ...(timestamp === undefined ? [] : [`{timestamp} is ${timestamp}, in whole seconds`]),
    ...(id === undefined ? [] : [`{id} is ${id}`]),
  ];
  const where = places.length === 0 ? '' : `, where ${places.join(', and ')}`;
  const signing = { signature, timestamp, id, prefix, encoding, algorithm, template, toleranceSeconds };
  return bodySignatureScheme([signing], {
    ...common,
    sender: given.name,
    howToSign: `${signature} is ${prefix}<the HMAC-${algorithm.toUpperCase()} of ${template} in ${encoding}>${where}.`,
    describe: (headers, { type }) => ({ id: id === undefined ? undefined : headers[id], type: typeOr(type, 'hmac') }),
  });
}
