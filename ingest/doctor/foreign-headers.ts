/** Signatures of other schemes on a request that lacks its own: it was sent to the wrong door, or by another sender. */
import { type Found, problem } from '../../shared/doctor/finding.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import { isSignedBy, type Scheme } from '../../shared/schemes/scheme.ts';
import { schemes } from '../../shared/schemes/schemes.ts';
import { schemeOfSource } from '../../shared/schemes/sources.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';
import type { CapturedRequest } from './captured-request.ts';
import { isSignature, secretName } from './signing-keys.ts';

/** `own`: the scheme that the request should be signed by; at /events that of its caller. */
export function explainForeignHeaders(
  request: CapturedRequest,
  sources: readonly ResolvedSource[],
  code: ErrorCode,
  own: Scheme,
): Found[] {
  const { headers, path } = request;
  const isEvents = /\/events?$/.test(path);
  return knownSchemes(sources).flatMap(({ scheme, names }) => {
    if (scheme.sender === own.sender || scheme.isAmbient === true || !isSignedBy(scheme, headers)) return [];
    if (isEvents && scheme.routes.includes('events')) return [];
    const by = signerOf(request, scheme, sources);
    const said = `the request is signed by ${scheme.sender}${by === undefined ? '' : `, with ${by}`}, and was sent to`;
    const listed = names.join(', ') || 'no source of its scheme is configured';
    if (isEvents) {
      const hint = `The endpoint of ${scheme.sender} is /webhooks/<source>: ${listed}.`;
      return [problem(`${said} the route for servers`, hint, code)];
    }
    const route = scheme.routes.includes('webhooks') ? '/webhooks/<source> of its own' : '/events';
    const hint = `Send it to ${route} (${listed}), or give this source the scheme of its sender.`;
    return [problem(`${said} a webhook of another scheme`, hint, code)];
  });
}

interface KnownScheme {
  readonly scheme: Scheme;
  /** Of its sources. */
  readonly names: readonly string[];
}

/** How a source of scheme hmac signs is known of that source alone. */
function knownSchemes(sources: readonly ResolvedSource[]): KnownScheme[] {
  const namesOf = (wanted: string) => sources.filter(({ source }) => source.scheme === wanted).map(nameOf);
  return [
    ...Object.entries(schemes).map(([name, scheme]: [string, Scheme]) => ({ scheme, names: namesOf(name) })),
    ...sources
      .filter(({ source }) => source.scheme === 'hmac')
      .map((one) => ({ scheme: schemeOfSource(one.source), names: [nameOf(one)] })),
  ];
}

function nameOf({ source }: ResolvedSource): string {
  return source.name;
}

/** The secret of DAYBOOK_SOURCES, of whatever source, that signed it by the scheme. */
function signerOf(
  { headers, path, body }: CapturedRequest,
  scheme: Scheme,
  sources: readonly ResolvedSource[],
): string | undefined {
  for (const { source, secrets } of sources) {
    const index = secrets.findIndex((secret) => isSignature(scheme.verify({ headers, path, body }, [secret], 0)));
    if (index >= 0) return secretName(source.name, index, secrets[index]!.keyid);
  }
  return undefined;
}
