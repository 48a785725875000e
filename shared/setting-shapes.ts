/** How the text of a setting is read: numbers, JSON, and texts that may be the path of a file. */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { readTextFile } from './files/read-text.ts';
import { parseWritten } from './json/locate-json.ts';
import { nearestName } from './setting-names.ts';

/** How a problem with JSON begins: where the text is a file's, its name goes before it. */
export const notJson = 'is not JSON';

const kinds: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'an object',
  record: 'an object',
  string: 'a text',
  number: 'a number',
  boolean: 'true or false',
};

/**
 * What zod would say of a wrong shape, in plain words that go behind the member's name. To be given to `safeParse` as
 * `error`. Undefined: zod's own words. What a schema says itself goes before it.
 */
export function inPlainWords(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'is required';
      return kinds[issue.expected] === undefined ? undefined : `must be ${kinds[issue.expected]}`;
    case 'invalid_value':
      return `must be ${oneOf(issue.values)}`;
    case 'invalid_union':
      return Array.isArray(issue.options) ? `must be ${oneOf(issue.options)}` : ofUnion(issue.errors);
    case 'unrecognized_keys': {
      const known = Object.keys(issue.inst instanceof z.ZodObject ? issue.inst.shape : {});
      return issue.keys.map((key) => unknownMember(key, known)).join('; ');
    }
  }
  return undefined;
}

/** The shape that is of the kind given tells what is wrong inside it; where none is, all say what they would be. */
function ofUnion(errors: readonly (readonly z.core.$ZodIssue[])[]): string {
  const inside = errors.find((issues) =>
    issues.some(({ path, code }) => path.length > 0 || code === 'unrecognized_keys'),
  );
  if (inside === undefined) return errors.map(([first]) => first!.message).join(', or ');
  return inside.map(({ path, message }) => [...path, message].join(' ')).join('; ');
}

function unknownMember(key: string, known: readonly string[]): string {
  const nearest = nearestName(key, known);
  return `has no member ${JSON.stringify(key)}${nearest === undefined ? '' : `. Did you mean ${nearest}?`}`;
}

function oneOf(values: readonly unknown[]): string {
  const texts = values.map((value) => String(value));
  return texts.length < 2 ? texts.join('') : `${texts.slice(0, -1).join(', ')} or ${texts.at(-1)}`;
}

export const whole = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, 'is not a whole number')
    .transform(Number)
    .refine((n) => n >= minimum && n <= maximum, `must be from ${minimum} to ${maximum}`);

/** `0/4`: the first of four. */
export const placeAmong = (most: number) =>
  z
    .string()
    .regex(/^\d{1,3}\/\d{1,3}$/, 'must be a number and how many there are, such as 0/4')
    .transform((text) => text.split('/').map(Number) as [number, number])
    .refine(
      ([index, count]) => index < count && count <= most,
      `must count from 0, so that the last of 4 is 3/4, and be of ${most} at most`,
    )
    .transform(([index, count]) => ({ index, count }));

/** A rule between members is looked at beside other problems too: all of them are named at once. */
export const besideOthers = ({ value }: { readonly value: unknown }) => typeof value === 'object' && value !== null;

/** JSON text of the given shape. */
export const json = <T>(schema: z.ZodType<T>) =>
  z
    .string()
    .transform((text, context): unknown => {
      const parsed = parseWritten(text);
      if ('value' in parsed) return parsed.value;
      context.addIssue({ code: 'custom', message: parsed.problem });
      return z.NEVER;
    })
    .pipe(schema);

/** JSON text, or the path of a file with it: what is wrong with the file's JSON is said with its name. */
export const jsonOrPath = <T>(looksLikeText: RegExp, schema: z.ZodType<T>) => {
  const text = json(schema);
  return z.string().transform((given, context): T => {
    const isPath = !looksLikeText.test(given);
    const read = isPath ? textOrPath(looksLikeText).safeParse(given) : undefined;
    const parsed = read?.success === false ? read : text.safeParse(read?.data ?? given, { error: inPlainWords });
    if (parsed.success) return parsed.data as T;
    for (const { path, message } of parsed.error.issues) {
      const isOfFile = isPath && message.startsWith(notJson);
      context.addIssue({ code: 'custom', path, message: isOfFile ? `the file ${given} ${message}` : message });
    }
    return z.NEVER;
  });
};
/** The text itself if it looks like what is wanted, else the text of the file at that path. */
export const textOrPath = (looksLikeText: RegExp) =>
  z.string().transform((text, context): string => {
    if (looksLikeText.test(text)) return text;
    if (text.trim() === '') {
      context.addIssue({ code: 'custom', message: 'is empty' });
      return z.NEVER;
    }
    try {
      return readTextFile(text);
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? 'unreadable';
      context.addIssue({ code: 'custom', message: `is neither a value nor a readable file (${reason})` });
      return z.NEVER;
    }
  });

/** A module of the user's own. It is loaded when it is used: what is wrong inside it is told then. */
export const modulePath = z.string().refine((path) => existsSync(path), 'is not a file that is there');

export const pem = /-----BEGIN [A-Z ]+-----/;

/** Folders that object keys begin with. */
export const folderPrefix = z
  .string()
  .regex(/^[\w.-]+(\/[\w.-]+)*$/, 'must be folder names joined by single slashes, without one at the ends')
  .refine((text) => !text.split('/').some((part) => part === '.' || part === '..'), 'has a . or .. part');

/** PEM text, or the path of a file with it. */
const pemOrPath = textOrPath(pem).refine((text) => pem.test(text), 'is a file without PEM in it');

/** TLS, always verified: `ca` where the server's certificate is of no public authority, `cert` and `key` where it asks for one. */
export const tlsParams = z.union([
  z.boolean(),
  z
    .strictObject({ ca: pemOrPath.optional(), cert: pemOrPath.optional(), key: pemOrPath.optional() })
    .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
      message: 'needs cert and key together',
      when: besideOthers,
    }),
]);

// Amazon S3 User Guide, General purpose bucket naming rules; other servers keep them too.
export const bucketName = z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'is not a valid bucket name');
export const awsRegion = z.string().regex(/^[a-z0-9-]{1,40}$/, 'is not a name of a region');
/** Where a server other than AWS answers. */
export const serviceEndpoint = z
  .url({ protocol: /^https?$/, message: 'is not an http or https URL' })
  .refine((text) => !/[@?#]/.test(text), 'may name only a host, a port and a path');

/** One object of a bucket. Credentials come by the AWS SDK's own chain, and so does a region that is not given here. */
export const s3Object = z.strictObject({
  bucket: bucketName,
  key: z.string().min(1, 'is empty'),
  region: awsRegion.optional(),
  endpoint: serviceEndpoint.optional(),
  forcePathStyle: z.boolean().optional(),
});

/** What is read by plain http could be anybody's, unless it is this machine's. */
export const httpsOrLoopback = z
  .url({ protocol: /^https?$/, message: 'is not an http or https URL' })
  .refine((text) => {
    const { protocol, hostname, username } = URL.parse(text) ?? {};
    return username === '' && (protocol === 'https:' || /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname ?? ''));
  }, 'must be https, or http on loopback, without a user');
