/**
 * `daybook-ingest keys rotate`: a new secret for a source, which verifies from now on; those before verify for five days more.
 * They stay in the sources file after that: `verify --secrets` needs them as long as the archive has what they signed.
 */
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dayMs, systemClock } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { createNewFile } from '../../shared/files/new-file.ts';
import { readTextFile, textOfBytes } from '../../shared/files/read-text.ts';
import { replaceFile } from '../../shared/files/replace-file.ts';
import { print, tell } from '../../shared/program/standard-output.ts';
import { confirmOnTerminal } from '../../shared/program/terminal.ts';
import type { Scheme } from '../../shared/schemes/scheme.ts';
import { schemeOf } from '../../shared/schemes/schemes.ts';
import { isActive, keyidOf } from '../../shared/schemes/secrets.ts';
import type { SecretReference } from '../../shared/schemes/source-members.ts';
import type { Source } from '../../shared/schemes/sources.ts';
import { type PlacedSecret, readRotateConfiguration } from '../configuration.ts';
import { rotated, textOf, withSecrets } from './edit-sources.ts';
import { placeOf } from './list.ts';

/** How long the previous keys verify after a rotation. */
const overlapMs = 5 * dayMs;

export interface RotateOptions {
  readonly source: string;
  /** A file with the new secret; `-`: stdin. */
  readonly secretFile?: string;
  readonly yes?: boolean;
}

interface Rotation {
  readonly source: Source;
  readonly scheme: Scheme;
  readonly before: readonly PlacedSecret[];
  /** The one in whose place the new one comes. */
  readonly current: PlacedSecret;
  /** Undefined where it is the sender's to make, and was not given. */
  readonly secret: string | undefined;
  readonly isGiven: boolean;
  /** RFC 3339 UTC. */
  readonly startsAt: string;
  readonly endsAt: string;
}

/** Prints the new secret on stdout, once, where it was made here; all else is said on stderr. */
export async function rotateCommand({ source: name, secretFile, yes }: RotateOptions): Promise<void> {
  const { settings, file, secretsOf } = readRotateConfiguration();
  const source = settings.DAYBOOK_SOURCES.find((each) => each.name === name);
  if (source === undefined) throw usage(`no source is named ${name}`, 'Give the name of one in DAYBOOK_SOURCES.');
  const rotation = planOf(source, secretsOf(source), secretFile);
  const { reference } = rotation.current;
  if (typeof reference === 'object' && 'env' in reference) return sayEnvironment(rotation, reference.env);
  if (file === undefined) {
    const detail = 'the sources are a text in the environment, which no command can change';
    throw usage(detail, 'Put them into a file, and its path into DAYBOOK_SOURCES; or change them by hand.');
  }
  if (rotation.secret === undefined) throw needsSecret(rotation);

  tell(planText(rotation, file.path));
  if (yes !== true) await confirm();
  const newest = await placeSecret(rotation.secret, reference);
  // Dies here: a new file that nothing names may lie beside the old one; the sources are as they were.
  const before = rotation.before.map((each) => each.reference);
  const text = withSecrets(textOfBytes(file.content), name, before, rotated(before, newest, rotation.endsAt));
  await replaceFile(file.path, file.content, text);
  // Dies here: it is done; the new secret was told to nobody, and is where `keys list` says.
  await tellDone(rotation, newest, file.path);
}

function planOf(source: Source, before: readonly PlacedSecret[], secretFile: string | undefined): Rotation {
  if (source.scheme === 'cookie') {
    const hint =
      'Rotate them where they are made: ingest reads them again each minute, and takes the old ones for a while.';
    throw usage(`${source.name} has no secrets: cookies are verified with public keys`, hint);
  }
  const scheme: Scheme = schemeOf(source.scheme);
  const nowMs = systemClock.now().getTime();
  const isCurrent = ({ secret }: PlacedSecret) => secret === undefined || isActive(secret, nowMs);
  const given = secretFile === undefined ? undefined : readGiven(secretFile);
  const secret = given ?? scheme.makeSecret?.();
  if (given !== undefined) checkGiven(given, source, scheme, before);
  return {
    ...{ source, scheme, before, secret, isGiven: given !== undefined },
    current: before.find(isCurrent) ?? before[0]!,
    startsAt: new Date(nowMs).toISOString(),
    endsAt: new Date(nowMs + overlapMs).toISOString(),
  };
}

function readGiven(path: string): string {
  try {
    return (path === '-' ? textOfBytes(readFileSync(0)) : readTextFile(path)).trim();
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw usage(
      `--secret-file: the file cannot be read (${reason})`,
      'Give a file with the new secret, or - for stdin.',
    );
  }
}

function checkGiven(secret: string, source: Source, scheme: Scheme, before: readonly PlacedSecret[]): void {
  if (secret === '') throw usage('--secret-file: the new secret is empty', 'See whether it was written at all.');
  if (before.some((each) => each.secret?.text === secret)) {
    throw usage(`${source.name} has this secret already`, 'Roll it at the sender first, and give the new one.');
  }
  for (const { status, said, hint } of scheme.checkSecret(secret)) {
    if (status === 'problem') throw usage(`the new secret ${said}`, hint);
    tell(`warning: the new secret ${said}. ${hint}\n`);
  }
}

function needsSecret({ scheme, source }: Rotation): DaybookError {
  return usage(
    `the secrets of scheme ${source.scheme} are made by the sender: ${scheme.sender}`,
    'Make a new one there, let it keep the old one for a while where it can, and give the new one by --secret-file, a file or - for stdin.',
  );
}

function planText({ source, scheme, before, secret, startsAt, endsAt }: Rotation, sourcesFile: string): string {
  const lines = before
    .filter((each) => each.secret === undefined || isActive(each.secret, Date.parse(startsAt)))
    .map((each) => `  previous  keyid ${each.secret?.keyid ?? 'unknown'}  until ${earlier(each.reference, endsAt)}\n`);
  return [
    `${source.name} (${scheme.sender}), in ${sourcesFile}\n`,
    `  new       keyid ${keyidOf(secret!)}  from  ${startsAt}\n`,
    ...lines,
  ].join('');
}

function earlier(reference: SecretReference, endsAt: string): string {
  const notAfter = typeof reference === 'string' ? undefined : reference.notAfter;
  return notAfter === undefined ? endsAt : new Date(Math.min(Date.parse(notAfter), Date.parse(endsAt))).toISOString();
}

/** @throws DaybookError `confirmation_needed` */
async function confirm(): Promise<void> {
  if (!(await confirmOnTerminal('Rotate? [y/N] '))) {
    throw new DaybookError('confirmation_needed', { detail: 'nothing was changed: the answer was not y' });
  }
}

/** Where the one before is in a file of its own the new one is too, beside it: of the same owner and mode, and never over another. */
async function placeSecret(secret: string, current: SecretReference): Promise<SecretReference> {
  if (typeof current === 'string' || !('file' in current)) return secret;
  const path = `${current.file.replace(/-[0-9a-f]{16}$/, '')}-${keyidOf(secret)}`;
  const file = await createNewFile(path, await stat(current.file));
  try {
    await file.write(Buffer.from(`${secret}\n`));
    await file.finish();
  } finally {
    file.abandon();
  }
  return { file: path };
}

async function tellDone({ source, secret, isGiven, endsAt }: Rotation, newest: SecretReference, sourcesFile: string) {
  const file = typeof newest === 'object' && 'file' in newest ? newest.file : sourcesFile;
  tell(
    `${source.name} has a new secret, in ${file}. Every ingest that reads ${sourcesFile} takes it within seconds.\n`,
  );
  if (isGiven) return tell(`The previous ones verify until ${endsAt}.\n`);
  tell(
    `It is on stdout, this once: give it to the sender, who has to use it by ${endsAt}, when ${source.name} takes nothing else any more.\n`,
  );
  await print(`${secret}\n`).catch((cause: unknown) => {
    const detail = `the rotation is done, but the new secret could not be printed: it is in ${file}`;
    throw new DaybookError('output_failed', {
      detail,
      hint: 'Take it from there. Rotate again only if you want another.',
      cause,
    });
  });
}

/** What somebody else has to set, who can. */
async function sayEnvironment(
  { before, source, secret, isGiven, startsAt, endsAt, scheme }: Rotation,
  variable: string,
) {
  const next = nextVariable(variable);
  const references = rotated(
    before.map((each) => each.reference),
    { env: next },
    endsAt,
  );
  const shown = references.map((reference) =>
    placeOf(reference) === 'sources' ? '{ "value": "(as it is)", "notAfter": "…" }' : textOf(reference),
  );
  const value = isGiven
    ? 'the secret that you gave'
    : secret === undefined
      ? `the new secret that ${scheme.sender} shows`
      : 'the new secret, which is on stdout, this once';
  tell(
    [
      `${source.name} has its secret in the environment variable ${variable}, which no command can change. Nothing was changed.`,
      `For a rotation at ${startsAt} that keeps the previous key until ${endsAt}, set`,
      `  ${next} to ${value}`,
      `and the secrets of ${source.name} in DAYBOOK_SOURCES to`,
      `  [${shown.join(', ')}]`,
      'then restart every ingest, and let the sender use the new one.',
      '',
    ].join('\n'),
  );
  if (secret !== undefined && !isGiven) await print(`${secret}\n`);
}

/** `BILLING_SECRET`, `BILLING_SECRET_2`, `BILLING_SECRET_3`. */
function nextVariable(name: string): string {
  const [, stem, number] = /^(.*?)(?:_(\d{1,4}))?$/.exec(name)!;
  return `${stem}_${number === undefined ? 2 : Number(number) + 1}`;
}

function usage(detail: string, hint: string): DaybookError {
  return new DaybookError('usage', { detail, hint });
}
