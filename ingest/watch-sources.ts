/**
 * Sources that change while ingest runs: new secrets, new sources, other callers. The files that they are in are read every
 * second and compared by their content, not by their times: so it does not matter how they change, in place, by a rename over
 * the old one, or, as Kubernetes does, by a link to a folder that leads elsewhere. SIGHUP has them read at once.
 *
 * What is wrong with a changed file changes nothing: the sources stay what they were, all of them.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { DaybookError } from '../shared/errors.ts';
import type { Logger } from '../shared/program/log.ts';
import type { ResolvedSource } from './schemes/resolved-source.ts';

/** What the files say, or what is wrong with them. */
export interface SourcesRead {
  /** The paths of all that were looked for, as far as what is wrong with one lets the others be known. */
  readonly files: readonly string[];
  readonly sources: readonly ResolvedSource[] | DaybookError;
}

export interface WatchOptions {
  /** The files of the start. */
  readonly files: readonly string[];
  /** What ingest runs on since then. */
  readonly sources: readonly ResolvedSource[];
  /** Reads all files again. Throws nothing. */
  readonly read: () => SourcesRead;
  /** Takes changed sources, whole: requests that come from now on are judged by them. */
  readonly take: (sources: readonly ResolvedSource[]) => void;
  /** Told of each reading that ingest did not know yet: whether it was sound. */
  readonly told: (isSound: boolean) => void;
  readonly log: Logger;
  readonly everyMs?: number;
}

export interface SourcesWatch {
  /** Reads them now, also where nothing seems to have changed. Resolves when they are taken or refused. */
  lookNow(): Promise<void>;
  close(): void;
}

export function watchSources({ read, take, told, log, everyMs = 1_000, ...start }: WatchOptions): SourcesWatch {
  let { files, sources: current } = start;
  /** The content that was judged last. None yet: it may have changed since the start read it. */
  let judged: string | undefined;
  /** That of the look before. Who writes in place is not done until two looks see the same. */
  let before: string | undefined;
  let isSound = true;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  async function look(): Promise<void> {
    const seen = await contentOf(files);
    if (seen !== undefined && seen !== judged && seen === before) judge(seen);
    before = seen;
    if (!isClosed) timer = setTimeout(look, everyMs).unref();
  }

  function judge(seen: string): boolean {
    judged = seen;
    const { files: named, sources } = read();
    files = named;
    if ('code' in sources) {
      isSound = false;
      told(false);
      const { code, message, hint } = sources;
      log.error(
        { code, problems: message.split('\n'), hint },
        'changed sources are not taken: those before stay in use',
      );
      return true;
    }
    const isChanged = !isDeepStrictEqual(sources, current);
    if (isChanged) {
      take(sources);
      current = sources;
    }
    if (!isChanged && isSound) return false;
    isSound = true;
    told(true);
    log.info({ sources: current.map(keysOf) }, isChanged ? 'changed sources are taken' : 'the sources are sound again');
    return true;
  }

  if (files.length > 0) void look();
  return {
    async lookNow() {
      const seen = await contentOf(files);
      if (seen === undefined) log.warn('the sources are not in files that can be read again: restart to change them');
      else if (!judge(seen)) log.info('the sources are unchanged');
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}

function keysOf({ source: { name, scheme }, secrets }: ResolvedSource): object {
  return { name, scheme, keyids: secrets.map(({ keyid }) => keyid) };
}

/** Undefined where one of them is neither a file nor missing: a pipe is empty once it was read, or keeps who reads it waiting. */
async function contentOf(paths: readonly string[]): Promise<string | undefined> {
  const hash = createHash('sha256');
  for (const path of paths) {
    try {
      if (!(await fs.stat(path)).isFile()) return undefined;
      const bytes = await fs.readFile(path);
      hash.update(`${path} ${bytes.length}\n`).update(bytes);
    } catch (error) {
      hash.update(`${path} ${(error as NodeJS.ErrnoException).code}\n`);
    }
  }
  return hash.digest('hex');
}
