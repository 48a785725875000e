/**
 * Whether copies of one event tell different things, and which two of them show it. Stripe's copies are compared by
 * `type`, `created` and `livemode`, and, among those rendered in one `api_version`, by `data`: other versions may render
 * `data` differently. Of a thin event only the listed copy has `data`, so a copy without any is not compared by it. Copies
 * of other sources are compared by their canonical line.
 */
import { createHash } from 'node:crypto';
import { parseInstant } from '../../shared/clock.ts';
import { canonicalJson } from '../../shared/json/canonical-json.ts';
import { memberText } from '../../shared/json/json-text.ts';
import { isThinEvent } from '../../shared/schemes/stripe-thin-events.ts';
import type { StagedCopy } from '../staging/staged-copy.ts';
import { archiveLine } from './archive-line.ts';

/** What copies are compared by: members of a Stripe event, or the whole line of another. */
export type ComparedMember = 'type' | 'created' | 'livemode' | 'data' | 'line';

/** What a Stripe event tells, ready to be compared. */
interface Telling {
  readonly type: string;
  readonly created: string;
  readonly livemode: string;
  readonly version: string;
  /** Its SHA-256, since there may be as many versions as copies; undefined where it is not compared. */
  readonly data: string | undefined;
}

function tellingOf(text: string): Telling {
  const { object, type, created, livemode, api_version, data } = JSON.parse(text);
  const instant = typeof created === 'string' ? (parseInstant(created) ?? created) : created;
  const isCompared = data != null || !isThinEvent({ object });
  return {
    type: JSON.stringify([type]),
    created: JSON.stringify([instant]),
    livemode: JSON.stringify([livemode]),
    version: JSON.stringify(api_version ?? null),
    data: isCompared
      ? createHash('sha256')
          .update(canonicalJson(memberText(text, 'data') ?? 'null'))
          .digest('hex')
      : undefined,
  };
}

/** In which members two texts of one Stripe event tell different things. */
export function stripeDifference(one: string, other: string): ComparedMember[] {
  return differenceOf(tellingOf(one), tellingOf(other));
}

function differenceOf(a: Telling, b: Telling): ComparedMember[] {
  const found: ComparedMember[] = (['type', 'created', 'livemode'] as const).filter((name) => a[name] !== b[name]);
  const isSame = a.version !== b.version || a.data === undefined || b.data === undefined || a.data === b.data;
  return isSame ? found : [...found, 'data'];
}

/** Tells as soon as any two of the copies given so far differ. */
export function openDifferences(isStripe: boolean): { compare(copy: StagedCopy): void; found(): boolean } {
  let first: StagedCopy | undefined;
  let strict: Telling | undefined;
  const byVersion = new Map<string, Telling>();
  let found = false;
  const look = (copy: StagedCopy) => {
    const telling = tellingOf(copy.body.toString());
    strict ??= telling;
    found ||= differenceOf(strict, telling).length > 0;
    if (telling.data === undefined) return;
    const before = byVersion.get(telling.version);
    if (before === undefined) byVersion.set(telling.version, telling);
    else found ||= before.data !== telling.data;
  };
  let firstLine: Buffer | undefined;
  return {
    compare(copy) {
      if (found) return;
      if (first === undefined) {
        first = copy;
        return;
      }
      if (!isStripe) {
        firstLine ??= archiveLine(first, undefined);
        found = !archiveLine(copy, undefined).equals(firstLine);
        return;
      }
      if (copy.body.equals(first.body)) return;
      if (strict === undefined) look(first);
      look(copy);
    },
    found: () => found,
  };
}

/** Two copies of one event that tell different things. */
export interface Contradiction {
  readonly copies: readonly [StagedCopy, StagedCopy];
  readonly differ: readonly ComparedMember[];
  /** Whether Stripe's list tells something else than what was delivered. */
  readonly isListAgainstDelivery: boolean;
}

/**
 * A delivered copy and Stripe's own where these differ, else the first two copies that do; undefined where none do. Goes
 * through the copies more than once, since there may be more of them than fit in memory.
 */
export function contradictionOf(copies: () => Iterable<StagedCopy>, isStripe: boolean): Contradiction | undefined {
  const between = (one: StagedCopy, other: StagedCopy): ComparedMember[] => {
    if (isStripe && one.body.equals(other.body)) return [];
    if (isStripe) return stripeDifference(one.body.toString(), other.body.toString());
    return archiveLine(one, undefined).equals(archiveLine(other, undefined)) ? [] : ['line'];
  };
  const firstAgainst = (other: StagedCopy, isAsked: (copy: StagedCopy) => boolean): Contradiction | undefined => {
    for (const copy of copies()) {
      if (!isAsked(copy)) continue;
      const differ = between(copy, other);
      if (differ.length === 0) continue;
      const origins = [copy.origin, other.origin];
      const isListAgainstDelivery = origins.includes('delivered') && origins.includes('listed');
      return { copies: [copy, other], differ, isListAgainstDelivery };
    }
    return undefined;
  };
  let listed: StagedCopy | undefined;
  for (const copy of copies()) if (copy.origin === 'listed') listed ??= copy;
  const against = listed && firstAgainst(listed, ({ origin }) => origin === 'delivered');
  if (against !== undefined) return against;
  const differences = openDifferences(isStripe);
  for (const copy of copies()) {
    differences.compare(copy);
    if (differences.found()) return firstAgainst(copy, () => true);
  }
  return undefined;
}
