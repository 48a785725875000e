/** Which events a restore is about: which parts can have them, and which lines they are. */

import { type Day, isDay } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { isCloudEventLine } from '../../shared/event-line.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Part } from '../ledger/manifest.ts';
import { unknownSource } from '../ledger/unknown-source.ts';

/** An event is selected if each list that is not empty has something that it fits, and no text of `except` is in it. */
export interface Selection {
  readonly sources: readonly string[];
  readonly days: readonly Day[];
  /** Inclusive. */
  readonly from?: Day | undefined;
  /** Inclusive. */
  readonly to?: Day | undefined;
  /** `invoice.paid`, or with a star at the end all that begin so: `invoice.*`. */
  readonly types: readonly string[];
  readonly ids: readonly string[];
  /** What the event is about: `data.object.id` of a Stripe event (of a thin one `related_object.id`), else `subject`. */
  readonly objects: readonly string[];
  /** Texts anywhere in the line, as JSON strings hold them: events that have one are left out. */
  readonly except: readonly string[];
}

export interface SelectedPart extends Part {
  readonly manifest: number;
  readonly source: string;
  readonly day: Day;
}

/** @throws DaybookError `usage` where a day or a type is not written as it must be */
export function checkSelection(selection: Selection): void {
  checkDays(selection.from, selection.to, selection.days);
  for (const type of selection.types) {
    if (type !== '' && !type.slice(0, -1).includes('*')) continue;
    throw new DaybookError('usage', { detail: `--type takes a type, or the beginning of one and a star: not ${type}` });
  }
  for (const text of [...selection.ids, ...selection.objects, ...selection.except]) {
    if (text === '') throw new DaybookError('usage', { detail: '--id, --object and --except take a text' });
  }
}

/** @throws DaybookError `usage` where one is not a UTC day, or none lies between the two */
export function checkDays(from: Day | undefined, to: Day | undefined, days: readonly Day[] = []): void {
  for (const day of [...days, ...[from, to].filter((day) => day !== undefined)]) {
    if (isDay(day)) continue;
    throw new DaybookError('usage', { detail: `a UTC day is written as 2026-11-20, not ${day}` });
  }
  if (from !== undefined && to !== undefined && from > to) {
    throw new DaybookError('usage', { detail: `--from ${from} is later than --to ${to}: no day lies between` });
  }
}

/**
 * The parts that can have such events, in the order in which they are restored: by day, source and manifest. Of them
 * those that were pruned apart: they are gone, or about to be.
 * @throws DaybookError `usage` where a source is not in the archive
 */
export function selectParts(
  ledger: Ledger,
  { sources, days, from, to }: Selection,
): { readonly parts: readonly SelectedPart[]; readonly pruned: readonly SelectedPart[] } {
  for (const source of sources) {
    if (!ledger.sources.has(source)) throw unknownSource(source, ledger);
  }
  const isWanted = (day: Day) =>
    (days.length === 0 || days.includes(day)) && (from === undefined || day >= from) && (to === undefined || day <= to);
  const parts = [...ledger.sources].flatMap(([source, states]) =>
    sources.length > 0 && !sources.includes(source)
      ? []
      : [...states].flatMap(([day, state]) =>
          isWanted(day) ? state.parts.map((part) => ({ ...part, source, day })) : [],
        ),
  );
  const place = ({ day, source }: SelectedPart) => `${day} ${source}`;
  parts.sort((a, b) => (place(a) === place(b) ? a.manifest - b.manifest : place(a) < place(b) ? -1 : 1));
  const isPruned = ({ key }: SelectedPart) => ledger.pruned.has(key);
  return { parts: parts.filter((part) => !isPruned(part)), pruned: parts.filter(isPruned) };
}

/** Whether lines have to be looked at: else whole parts are restored. */
export function looksAtLines({ types, ids, objects, except }: Selection): boolean {
  return types.length + ids.length + objects.length + except.length > 0;
}

/** More texts than these are not looked for in the bytes: parsing costs less then. */
const maxNeedles = 16;

interface Group {
  /** Bytes of which each line that fits has at least one. Empty: not known. */
  readonly needles: readonly Buffer[];
  readonly fits: (event: Readonly<Record<string, unknown>>) => boolean;
}

/**
 * Tells which lines of a piece of whole lines are selected: as pieces of that piece, their LFs included. A line is
 * parsed only if its bytes hold what it must hold: the archive's lines are canonical, so a text stands there in one way.
 */
export function lineSelector(selection: Selection): (lines: Buffer) => Buffer[] {
  const groups = groupsOf(selection);
  const except = selection.except.map((text) => Buffer.from(JSON.stringify(text).slice(1, -1)));
  const mayFit = (bytes: Buffer) => groups.every(({ needles }) => needles.length === 0 || hasOne(bytes, needles));
  const isSelected = (line: Buffer) => {
    if (!mayFit(line) || hasOne(line, except)) return false;
    if (groups.length === 0) return true;
    const event = JSON.parse(line.toString()) as Record<string, unknown>;
    return groups.every(({ fits }) => fits(event));
  };
  return (lines) => (mayFit(lines) ? runsOf(lines, isSelected) : []);
}

/** Lines that are selected and follow each other are one piece. */
export function runsOf(lines: Buffer, isSelected: (line: Buffer) => boolean): Buffer[] {
  const runs: Buffer[] = [];
  let runStart = -1;
  for (let start = 0; start < lines.length; ) {
    const end = lines.indexOf(0x0a, start);
    if (isSelected(lines.subarray(start, end))) {
      if (runStart < 0) runStart = start;
    } else if (runStart >= 0) {
      runs.push(lines.subarray(runStart, start));
      runStart = -1;
    }
    start = end + 1;
  }
  if (runStart >= 0) runs.push(lines.subarray(runStart));
  return runs;
}

export function countLines(lines: Buffer): number {
  let count = 0;
  for (let at = lines.indexOf(0x0a); at >= 0; at = lines.indexOf(0x0a, at + 1)) count += 1;
  return count;
}

function groupsOf({ types, ids, objects }: Selection): Group[] {
  const groups: Group[] = [];
  if (types.length > 0) {
    const exact = new Set(types.filter((type) => !type.endsWith('*')));
    const starts = types.filter((type) => type.endsWith('*')).map((type) => type.slice(0, -1));
    groups.push({
      needles: needlesOf([
        ...[...exact].map((type) => `"type":${JSON.stringify(type)}`),
        ...starts.map((start) => `"type":${JSON.stringify(start).slice(0, -1)}`),
      ]),
      fits: ({ type }) =>
        typeof type === 'string' && (exact.has(type) || starts.some((start) => type.startsWith(start))),
    });
  }
  if (ids.length > 0) {
    const wanted = new Set<unknown>(ids);
    groups.push({
      needles: needlesOf(ids.map((id) => `"id":${JSON.stringify(id)}`)),
      fits: ({ id }) => wanted.has(id),
    });
  }
  if (objects.length > 0) {
    const wanted = new Set<unknown>(objects);
    groups.push({
      needles: needlesOf(objects.map((id) => `:${JSON.stringify(id)}`)),
      fits: (event) => wanted.has(objectOf(event)),
    });
  }
  return groups;
}

function needlesOf(texts: readonly string[]): Buffer[] {
  return texts.length > maxNeedles ? [] : texts.map((text) => Buffer.from(text));
}

function hasOne(bytes: Buffer, needles: readonly Buffer[]): boolean {
  for (const needle of needles) if (bytes.includes(needle)) return true;
  return false;
}

/** What an event is about, as ingest has it in `subject`. */
function objectOf(event: Readonly<Record<string, unknown>>): unknown {
  if (isCloudEventLine(event)) return event.subject;
  if (event.object === 'v2.core.event') return memberOf(event.related_object, 'id');
  return memberOf(memberOf(event.data, 'object'), 'id');
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
