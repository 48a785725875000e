/** Checks the signature of a delivery once more, years later if need be: without the clock, with the secrets of then. */
import { refuseProblems } from '../../shared/config.ts';
import { DaybookError } from '../../shared/errors.ts';
import { readTextFile } from '../../shared/files/read-text.ts';
import { parseWritten } from '../../shared/json/locate-json.ts';
import { schemeOf } from '../../shared/schemes/schemes.ts';
import { resolveSecrets, type Secret } from '../../shared/schemes/secrets.ts';
import { sourcesSchema } from '../../shared/schemes/sources.ts';
import type { Delivery } from './verify-lines.ts';

/** By source. */
export type SecretsOfSources = ReadonlyMap<string, readonly Secret[]>;

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
    sources.map(({ name, secrets }) => [name, resolveSecrets(secrets, `--secrets ${name}`, environment, problems)]),
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
  const parsed = sourcesSchema.safeParse(written.value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `--secrets ${path.join('.')}: ${message}`);
  throw new DaybookError('usage', { detail: problems.join('\n') });
}

/** `unknown_secret`: none of the secrets given has its `keyid`, or this version cannot check its scheme. */
export function checkDelivery(
  delivery: Delivery,
  secrets: readonly Secret[] | undefined,
): 'holds' | 'failed' | 'unknown_secret' {
  const { id, keyid, signedheaders = '', path = '', body } = delivery;
  const scheme = schemeOf(delivery.scheme);
  const candidates = (secrets ?? []).filter((secret) => secret.keyid === keyid);
  if (scheme === undefined || candidates.length === 0) return 'unknown_secret';
  const evidence = { id, headers: headersOf(signedheaders), path, body: Buffer.from(body) };
  return scheme.holds(evidence, candidates) ? 'holds' : 'failed';
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
