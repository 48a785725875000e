/**
 * What a machine needs to run daybook again: the settings and every file that they name, as a folder that an empty machine
 * takes: `.env`, and `secrets/` with the files, to which the settings then point.
 */
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseEnv } from 'node:util';
import { refuseProblems, type SettingName, settings } from '../../shared/config.ts';
import { textOfBytes } from '../../shared/files/read-text.ts';
import type { FileOfTar } from './tar.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface Collected {
  readonly files: readonly FileOfTar[];
  /** Names of the variables in `.env`. */
  readonly variables: readonly string[];
  /** What the settings refer to and is not here: `DAYBOOK_SOURCES: the file … cannot be read`. */
  readonly missing: readonly string[];
}

/** Members of settings in JSON that name a file: of sources, public keys, TLS. */
const fileMembers = new Set(['file', 'ca', 'cert', 'key']);
const maxFileBytes = 1024 * 1024;

/**
 * Reads the files. Nothing is left out unsaid: what a setting names itself and cannot be read is a problem.
 * @throws DaybookError `configuration_invalid`
 */
export async function collectSecrets(environment: Environment): Promise<Collected> {
  const files: FileOfTar[] = [];
  const lines = new Map<string, string>();
  const missing: string[] = [];
  const problems: string[] = [];
  const referred = new Set<string>();

  async function keep(name: string, bytes: Buffer): Promise<string> {
    const path = `secrets/${name}`;
    // A placeholder first: the files that it refers to come behind it.
    const at = files.push({ path, bytes }) - 1;
    files[at] = { path, bytes: await withoutPlaces(bytes, name) };
    return path;
  }

  /** JSON with every file that it names kept beside it. Any other text as it is. */
  async function withoutPlaces(bytes: Buffer, name: string): Promise<Buffer> {
    let value: unknown;
    try {
      value = JSON.parse(textOfBytes(bytes));
    } catch {
      return bytes;
    }
    let count = 0;
    async function walk(node: unknown): Promise<unknown> {
      if (Array.isArray(node)) return Promise.all(node.map(walk));
      if (typeof node !== 'object' || node === null) return node;
      const members = Object.entries(node).map(async ([member, inner]) => {
        if (member === 'env' && typeof inner === 'string') referred.add(inner);
        const isFile = fileMembers.has(member) && typeof inner === 'string' && !inner.includes('\n');
        if (!isFile || (member !== 'file' && !isRegularFile(inner))) return [member, await walk(inner)];
        count += 1;
        const own = `${name}-${count}`;
        try {
          const path = `secrets/${own}`;
          files.push({ path, bytes: await readFile(inner) });
          return [member, path];
        } catch (error) {
          missing.push(`${name}: the file ${inner} cannot be read (${(error as NodeJS.ErrnoException).code})`);
          return [member, inner];
        }
      });
      return Object.fromEntries(await Promise.all(members));
    }
    const rewritten = await walk(value);
    return count === 0 ? bytes : Buffer.from(`${JSON.stringify(rewritten, null, 2)}\n`);
  }

  for (const name of Object.keys(settings) as SettingName[]) {
    const [given, path] = [environment[name], environment[`${name}_FILE`]];
    const isSecret = 'secret' in settings[name];
    const named =
      isSecret && path !== undefined ? path : given !== undefined && isRegularFile(given) ? given : undefined;
    if (named !== undefined) {
      const variable = named === path ? `${name}_FILE` : name;
      try {
        lines.set(variable, await keep(name, await readFile(named)));
      } catch (error) {
        problems.push(`${variable}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
      }
    } else if (given !== undefined && isSecret) {
      lines.set(`${name}_FILE`, await keep(name, Buffer.from(given)));
    } else if (given !== undefined) {
      lines.set(name, given);
    }
  }
  for (const name of [...referred].sort()) {
    const value = environment[name];
    if (value === undefined) missing.push(`the environment variable ${name} is not set`);
    else lines.set(name, value);
  }
  const env = [...lines].map(([name, value]) => lineOf(name, value, problems)).join('');
  refuseProblems(problems);
  const all = [{ path: '.env', bytes: Buffer.from(env) }, ...files];
  return { files: all, variables: [...lines.keys()], missing };
}

/** Within the quotes that it does not have; Node reads what stands in single ones as it is, over several lines too. */
function lineOf(name: string, value: string, problems: string[]): string {
  const quote = ["'", '`', '"'].find((mark) => !value.includes(mark) && !(mark === '"' && value.includes('\\')));
  const line = `${name}=${quote}${value}${quote}\n`;
  if (quote !== undefined && parseEnv(line)[name] === value) return line;
  problems.push(`${name}: cannot be written into a .env file as it is: refer to a file instead`);
  return '';
}

function isRegularFile(path: string): boolean {
  if (path === '' || path.includes('\n') || path.includes('\0')) return false;
  try {
    const found = statSync(path);
    return found.isFile() && found.size <= maxFileBytes;
  } catch {
    return false;
  }
}
