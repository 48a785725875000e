/** THE PATH of a restore: which parts, what they hold, part by part to wherever it goes. Reads the archive only. */
import type { Day } from '../../shared/clock.ts';
import type { Identities } from '../../shared/crypto/identities.ts';
import { DaybookError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { idsOf } from '../day/archived-ids.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { readPart } from '../objects/read-part.ts';
import type { SortBudget } from '../staging/external-sort.ts';
import { findRepeatedIds, openRepeatGuard, type RepeatGuard } from './restore-repeats.ts';
import {
  countLines,
  lineSelector,
  looksAtLines,
  runsOf,
  type SelectedPart,
  type Selection,
  selectParts,
} from './restore-selection.ts';

/** Where restored lines go. */
export interface RestoreOutput {
  /** Told of each part before its lines. Where it rejects, none of them comes. */
  begin?(part: SelectedPart): Promise<void>;
  /** Takes whole lines of one source, each with its LF, in order. They may change once it resolves. */
  write(lines: Buffer, source: string): Promise<void>;
}

export interface Restore {
  readonly store: ObjectStore;
  readonly ledger: Ledger;
  readonly selection: Selection;
  /** Undefined in a dry run: nothing is opened, and what only lines could tell is not counted. */
  readonly identities: Identities | undefined;
  /** Undefined: a dry run. */
  readonly output: RestoreOutput | undefined;
  /** Sorts ids, in a folder that the caller removes. */
  readonly budget: SortBudget;
  progress(step: string, count: number, total?: number): void;
}

export interface RestoredPart {
  readonly source: string;
  readonly day: Day;
  readonly key: string;
  readonly manifest: number;
  /** Events selected; where `exact` is false, all that it has. */
  readonly events: number;
  /** Of the object and of what is in it, by the manifest. */
  readonly bytes: { readonly plaintext: number; readonly ciphertext: number };
}

/** A part that can have events that were asked for, and that a manifest says is pruned: gone, or about to be. */
export interface PrunedPart {
  readonly source: string;
  readonly day: Day;
  readonly key: string;
  /** All that it had; of ids asked for as many as it had of them. */
  readonly events: number;
  /** Why, by the manifest that says so. */
  readonly rule: string;
  readonly prunedBy: number;
}

export interface RestoreFailure {
  readonly code: ErrorCode;
  readonly source: string;
  readonly day: Day;
  readonly key: string;
  readonly message: string;
}

/** `restore --json`, but for where it went. */
export interface RestoreReport {
  readonly events: number;
  /** Whether `events` are just those selected. Not so in a dry run whose filters need lines that were not opened. */
  readonly exact: boolean;
  /** Lines left out, since their event was restored from another part. */
  readonly repeated: number;
  /** Parts that had to be read, in order. */
  readonly parts: readonly RestoredPart[];
  /** Parts that `--id` ruled out by their ids alone. */
  readonly skipped: number;
  /** What cannot be brought back any more, in order. */
  readonly pruned: readonly PrunedPart[];
  /** Ids asked for that no part has or had. */
  readonly notFound: readonly string[];
  readonly failures: readonly RestoreFailure[];
}

/**
 * What cannot be read is named in `failures`, and stops no other part. Rejects where the store or the output fails, and
 * with
 * `output_untrusted` where a part turns out to be damaged after lines of it were handed out.
 */
export async function restoreArchive(restore: Restore): Promise<RestoreReport> {
  const { store, ledger, selection, identities, output, budget, progress } = restore;
  const failures: RestoreFailure[] = [];
  const fail: OnFailure = ({ source, day, key }, error) => {
    if (!isOfPart(error)) throw error;
    failures.push({ code: error.code, source, day, key, message: messageOf(error) });
  };
  const selected = selectParts(ledger, selection);
  const { parts, skipped, notFound: notThere } = await partsToRead(restore, selected.parts, fail);
  const gone = await partsToRead(restore, selected.pruned, fail);
  const notFound = notThere.filter((id) => gone.notFound.includes(id));
  const pruned = gone.parts.map((part) => prunedPart(ledger, part));
  const onlyIds = selection.ids.length > 0 && !looksAtLines({ ...selection, ids: [] });
  const isCounted = identities === undefined || (output === undefined && (onlyIds || !looksAtLines(selection)));
  if (isCounted) {
    const restored = parts.map((part) => restoredPart(part, part.wanted ?? part.events));
    const exact = (!looksAtLines(selection) || onlyIds) && failures.length === 0;
    return { events: sum(restored), exact, repeated: 0, parts: restored, skipped, pruned, notFound, failures };
  }

  const guard = openRepeatGuard(
    await findRepeatedIds(
      store,
      parts,
      budget,
      ({ source, day, ids }, error) => fail({ source, day, key: ids.key }, error),
      (ids) => progress('ids compared', ids),
    ),
  );
  const restored: RestoredPart[] = [];
  const total = parts.reduce((events, part) => events + part.events, 0);
  let read = 0;
  for (const part of parts) {
    const onLines = (lines: number) => {
      read += lines;
      progress('events read', read, total);
    };
    try {
      restored.push(restoredPart(part, await restorePart(restore, identities, part, guard, onLines)));
    } catch (error) {
      fail(part, error);
    }
  }
  const repeated = guard.leftOut();
  return { events: sum(restored), exact: true, repeated, parts: restored, skipped, pruned, notFound, failures };
}

type PartToRead = SelectedPart & {
  /** How many of the ids asked for it has; undefined where that is not known. */
  readonly wanted?: number;
};

/** Throws the error on where it is not that of the object. */
type OnFailure = (object: { readonly source: string; readonly day: Day; readonly key: string }, error: unknown) => void;

/** Of the parts that can have the events those that do, as far as ids tell. */
async function partsToRead(
  { store, selection, progress }: Restore,
  selected: readonly SelectedPart[],
  fail: OnFailure,
): Promise<{ parts: readonly PartToRead[]; skipped: number; notFound: readonly string[] }> {
  if (selection.ids.length === 0) return { parts: selected, skipped: 0, notFound: [] };
  const asked = new Set(selection.ids);
  const found = new Set<string>();
  const parts: PartToRead[] = [];
  for (const [index, part] of selected.entries()) {
    progress('parts looked up', index, selected.length);
    try {
      let wanted = 0;
      for await (const id of idsOf(store, part.ids)) {
        if (!asked.has(id)) continue;
        found.add(id);
        wanted += 1;
      }
      if (wanted > 0) parts.push({ ...part, wanted });
    } catch (error) {
      // Its lines may be whole all the same: they are looked at.
      fail({ ...part, key: part.ids.key }, error);
      parts.push(part);
    }
  }
  return { parts, skipped: selected.length - parts.length, notFound: [...asked].filter((id) => !found.has(id)) };
}

/** How many events of the part were selected. */
async function restorePart(
  { store, selection, output }: Restore,
  identities: Identities,
  part: SelectedPart,
  guard: RepeatGuard,
  onLines: (count: number) => void,
): Promise<number> {
  const select = looksAtLines(selection) ? lineSelector(selection) : undefined;
  const isFirst = guard.of(part);
  let events = 0;
  try {
    await output?.begin?.(part);
    for await (const lines of readPart(store, part, identities)) {
      const selected = select === undefined ? [lines] : select(lines);
      for (const run of isFirst === undefined ? selected : selected.flatMap((run) => runsOf(run, isFirst))) {
        events += countLines(run);
        await output?.write(run, part.source);
      }
      onLines(countLines(lines));
    }
  } catch (error) {
    if (events === 0 || output === undefined || !isOfPart(error)) throw error;
    const detail = `${messageOf(error)}, after ${events} of its events were handed out: none of the output is to be trusted`;
    throw new DaybookError('output_untrusted', { detail, cause: error });
  }
  return events;
}

const ofPart: ReadonlySet<string> = new Set<ErrorCode>([
  'object_missing',
  'object_damaged',
  'object_key_invalid',
  'sealed_unreadable',
]);

/** Whether it is the one part that is at fault; else the store, the output or the program. */
function isOfPart(error: unknown): error is DaybookError {
  return error instanceof DaybookError && ofPart.has(error.code);
}

function restoredPart(part: SelectedPart, events: number): RestoredPart {
  const { source, day, key, manifest, bytes } = part;
  return { source, day, key, manifest, events, bytes };
}

function prunedPart({ pruned }: Ledger, { source, day, key, events, wanted = events }: PartToRead): PrunedPart {
  const { rule, manifest: prunedBy } = pruned.get(key)!;
  return { source, day, key, events: wanted, rule, prunedBy };
}

function sum(parts: readonly RestoredPart[]): number {
  return parts.reduce((total, { events }) => total + events, 0);
}
