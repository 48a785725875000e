/**
 * The state file of a verification, so that one that was interrupted goes on where it stopped.
 *
 * One JSON document: which archive, how deep it was looked into, the head of its ledger, and per source and day that was
 * found without a break how many objects it had. Such a day is not looked into again while the ledger begins with that
 * very head and has said of no further object of the day; all else is. The file is replaced as a whole, at most once a
 * second, and removed when the verification has ended: it says nothing of an archive that was changed since.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Day } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { SecretsOfSources } from './check-delivery.ts';

/** What the objects of a day were found to be, when nothing was wrong with them. */
export interface DayProof {
  readonly deliveries: { readonly checked: number; readonly failed: number; readonly unknownSecret: number };
  /** Whether a line is a CloudEvent. */
  readonly hasCloudEvents: boolean;
}

export interface VerifyResume {
  /**
   * To be called once the ledger is known, with the SHA-256 of its manifests in their order. Says how many days an
   * earlier run has proven, or why none of what it has written counts.
   */
  begin(head: Ledger['head'], manifests: readonly string[]): { readonly days: number; readonly refused?: string };
  proofOf(source: string, day: Day, objects: number): DayProof | undefined;
  /** Noted; on disk within a second if there are more, else with `save`. */
  proven(source: string, day: Day, objects: number, proof: DayProof): void;
  save(): void;
  /** The verification has ended. */
  remove(): void;
}

const format = 'daybook-verify/1';
const saveEveryMs = 1000;

const count = z.int().min(0);
const stateSchema = z.strictObject({
  format: z.literal(format),
  archive: z.string(),
  depth: z.string(),
  head: z.strictObject({ number: count, sha256: z.string() }),
  days: z.record(
    z.string(),
    z.strictObject({
      objects: count,
      deliveries: z.strictObject({ checked: count, failed: count, unknownSecret: count }),
      hasCloudEvents: z.boolean(),
    }),
  ),
});
type State = z.infer<typeof stateSchema>;

/**
 * `archive` names the place. @throws DaybookError `usage` where the file is there and none of these, so that no other
 * file is written over
 */
export function openResume(path: string, archive: string, depth: string): VerifyResume {
  const before = readState(path);
  let state: State | undefined;
  let savedMs = Number.NEGATIVE_INFINITY;

  function save(): void {
    if (state === undefined) return;
    savedMs = performance.now();
    try {
      writeState(path, `${JSON.stringify(state)}\n`);
    } catch (cause) {
      throw new DaybookError('output_failed', { detail: `${path} (${codeOf(cause)})`, cause });
    }
  }

  return {
    begin(head, manifests) {
      const again: State = {
        format,
        archive,
        depth,
        head: { number: head?.number ?? 0, sha256: head?.sha256 ?? '' },
        days: {},
      };
      const refused = before === undefined ? undefined : refusalOf(before, again, manifests);
      state = before === undefined || refused !== undefined ? again : { ...again, days: before.days };
      const days = Object.keys(state.days).length;
      return refused === undefined ? { days } : { days, refused };
    },
    proofOf(source, day, objects) {
      const found = state?.days[`${source} ${day}`];
      return found?.objects === objects ? found : undefined;
    },
    proven(source, day, objects, { deliveries, hasCloudEvents }) {
      if (state === undefined) return;
      state.days[`${source} ${day}`] = { objects, deliveries: { ...deliveries }, hasCloudEvents };
      if (performance.now() - savedMs >= saveEveryMs) save();
      // Dies here: what was proven in the last second is proven again.
    },
    save,
    remove() {
      state = undefined;
      fs.rmSync(path, { force: true });
    },
  };
}

/** What a verification looks into: days proven with less do not count for one that looks deeper, nor the other way. */
export function depthOf(isOpened: boolean, secrets: SecretsOfSources | undefined): string {
  if (!isOpened) return 'bytes';
  if (secrets === undefined) return 'content';
  const known = [...secrets].flatMap(([name, { source, secrets }]) => {
    // How a source of scheme hmac signs is in its settings.
    const signing = source.scheme === 'hmac' ? JSON.stringify({ ...source, secrets: [] }) : source.scheme;
    return secrets.map(({ keyid }) => `${name} ${keyid} ${signing}`);
  });
  known.sort();
  return `deliveries ${createHash('sha256').update(known.join('\n')).digest('hex').slice(0, 16)}`;
}

/** The ledger only grows: if it has that manifest, all that went before is as it was. */
function refusalOf(before: State, now: State, manifests: readonly string[]): string | undefined {
  if (before.archive !== now.archive) return `is of ${before.archive}`;
  if (before.depth !== now.depth) return 'is of a verification with other --identity or --secrets';
  const { number, sha256 } = before.head;
  if (number > 0 && manifests[number - 1] !== sha256) return `is of another ledger: manifest ${number} is another here`;
  return undefined;
}

function readState(path: string): State | undefined {
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw new DaybookError('usage', { detail: `--resume: the file cannot be read (${codeOf(cause)})`, cause });
  }
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch {
    throw new DaybookError('usage', { detail: '--resume: the file is not one that verify has written' });
  }
}

/** The old text or the new one, whatever dies. */
export function writeState(path: string, text: string): void {
  const fresh = `${path}.new`;
  fs.rmSync(fresh, { force: true });
  const file = fs.openSync(fresh, 'wx', 0o600);
  try {
    fs.writeFileSync(file, text);
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
  // Dies here: the old one counts; what lies beside it is written over.
  fs.renameSync(fresh, path);
  const folder = fs.openSync(dirname(path), 'r');
  try {
    fs.fsyncSync(folder);
  } finally {
    fs.closeSync(folder);
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unreadable';
}
