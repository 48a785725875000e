/** Signatures of other schemes on a request that lacks its own: it was sent to the wrong door, or by another sender. */
import { createHmac } from 'node:crypto';
import { type Found, problem } from '../../shared/doctor/finding.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import { isSignedBy, type Scheme } from '../../shared/schemes/scheme.ts';
import { type SchemeName, schemeNames, schemes } from '../../shared/schemes/schemes.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';
import type { CapturedRequest } from './captured-request.ts';
import { signingKeys } from './signing-keys.ts';

/** Of schemes that this version may not have. */
const otherSchemes: readonly (readonly [header: string, scheme: string])[] = [
  ['webhook-signature', 'Standard Webhooks'],
  ['svix-signature', 'Standard Webhooks (Svix)'],
  ['x-hub-signature-256', 'GitHub'],
  ['x-shopify-hmac-sha256', 'Shopify'],
  ['x-slack-signature', 'Slack'],
];

export function explainForeignHeaders(
  request: CapturedRequest,
  sources: readonly ResolvedSource[],
  code: ErrorCode,
): Found[] {
  const { headers, path } = request;
  const found: Found[] = [];
  const isEvents = /\/events?$/.test(path);
  for (const [name, scheme] of Object.entries(schemes) as [SchemeName, Scheme][]) {
    if (!isSignedBy(scheme, headers) || scheme.routes.includes(isEvents ? 'events' : 'webhooks')) continue;
    const names = sources.filter(({ source }) => source.scheme === name).map(({ source }) => source.name);
    const listed = names.join(', ') || `no source of scheme ${name} is configured`;
    const [route, hint] = isEvents
      ? ['the route for servers', `The endpoint of ${scheme.sender} is /webhooks/<source>: ${listed}.`]
      : ['a webhook', 'Send it to /events.'];
    found.push(problem(`the request is signed by ${scheme.sender}, and was sent to ${route}`, hint, code));
  }
  const taken = new Set(Object.values(schemes).flatMap((scheme: Scheme) => scheme.headers.flat()));
  for (const [header, scheme] of otherSchemes) {
    if (headers[header] === undefined || taken.has(header)) continue;
    const by = scheme.startsWith('Standard') ? standardSigner(request, header, sources) : undefined;
    const said = `the request is signed by ${scheme} (${header})`;
    const hint = `This version of daybook takes ${schemeNames.join(' and ')} alone: let the sender sign by one of them.`;
    found.push(problem(by === undefined ? said : `${said}, with ${by}`, hint, code));
  }
  return found;
}

/** Standard Webhooks signs `<id>.<timestamp>.<body>`, with the secret behind whsec_ decoded from base64. */
function standardSigner(
  { headers, body }: CapturedRequest,
  header: string,
  sources: readonly ResolvedSource[],
): string | undefined {
  const prefix = header.replace(/signature$/, '');
  const [id, timestamp] = [headers[`${prefix}id`], headers[`${prefix}timestamp`]];
  const signatures = `${headers[header]}`.split(' ').map((item) => item.replace(/^v1,/, ''));
  const found = signingKeys(sources, undefined).find(({ key }) => {
    const digest = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
    return signatures.includes(digest);
  });
  if (found === undefined) return undefined;
  return found.reading === undefined ? found.secretName : `${found.secretName} ${found.reading.how}`;
}
