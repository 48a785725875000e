/** Checks the signature of a delivery once more, years later if need be: without the clock, with the secrets of then. */

import { refuseProblems } from '../../shared/config.ts';
import { DaybookError } from '../../shared/errors.ts';
import { readTextFile } from '../../shared/files/read-text.ts';
import { parseWritten } from '../../shared/json/locate-json.ts';
import type { Scheme } from '../../shared/schemes/scheme.ts';
import { schemeOf } from '../../shared/schemes/schemes.ts';
import type { Secret } from '../../shared/schemes/secrets.ts';
import { type Source, schemeOfSource, secretsOf, sourcesSchema } from '../../shared/schemes/sources.ts';
import { inPlainWords } from '../../shared/setting-shapes.ts';
import type { Delivery } from './verify-lines.ts';

/** A source as the file has it, by its name. */
export type SecretsOfSources = ReadonlyMap<string, { readonly source: Source; readonly secrets: readonly Secret[] }>;

/**
 * The secrets of a file with the shape of DAYBOOK_SOURCES.
 * @throws DaybookError `usage` where the file is not that, `configuration_invalid` where a secret cannot be had
 */
export function readSecretsFile(
  path: string,
  environment: Readonly<Record<string, string | undefined>>,
): SecretsOfSources {
  const problems: string[] = [];
  const sources = parseSources(path);
  const secrets = new Map(
    sources.map((source) => [
      source.name,
      { source, secrets: secretsOf(source, `--secrets ${source.name}`, environment, problems) },
    ]),
  );
  refuseProblems(problems);
  return secrets;
}

function parseSources(path: string) {
  let text: string;
  try {
    text = readTextFile(path);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new DaybookError('usage', { detail: `--secrets: the file cannot be read (${reason})` });
  }
  const written = parseWritten(text);
  if ('problem' in written)
    throw new DaybookError('usage', { detail: `--secrets: the file ${path} ${written.problem}` });
  const parsed = sourcesSchema.safeParse(written.value, { error: inPlainWords });
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `--secrets ${path.join('.')}: ${message}`);
  throw new DaybookError('usage', { detail: problems.join('\n') });
}

/** `unknown_secret`: none of the secrets given has its `keyid`, or how its scheme signs is not known here. */
export function checkDelivery(
  delivery: Delivery,
  given: ReturnType<SecretsOfSources['get']>,
): 'holds' | 'failed' | 'unknown_secret' {
  const { id, keyid, signedheaders = '', path = '', body } = delivery;
  const candidates = given?.secrets.filter((secret) => secret.keyid === keyid) ?? [];
  if (given === undefined || candidates.length === 0) return 'unknown_secret';
  const scheme = schemeOfDelivery(delivery.scheme, given.source);
  if (scheme === undefined) return 'unknown_secret';
  const evidence = { id, headers: headersOf(signedheaders), path, body: Buffer.from(body) };
  return scheme.holds(evidence, candidates) ? 'holds' : 'failed';
}

/** The source may have had another scheme then. How one of scheme hmac signed is known from its settings alone. */
function schemeOfDelivery(name: string, source: Source): Scheme | undefined {
  if (source.scheme === name) return schemeOfSource(source);
  return name === 'hmac' ? undefined : schemeOf(name);
}

/** `name: value` joined by `; `, which no value holds. */
function headersOf(signedheaders: string): Record<string, string> {
  return Object.fromEntries(
    signedheaders.split('; ').map((header) => {
      const colon = header.indexOf(': ');
      return [header.slice(0, colon), header.slice(colon + 2)] as const;
    }),
  );
}
