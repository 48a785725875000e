/** The lines of an archive against the rules of their format (FORMAT.md, Parts and what follows). Pure. */

import { type Day, dayOf, parseInstant } from '../../shared/clock.ts';
import { isCloudEventLine } from '../../shared/event-line.ts';
import { canonicalJson, compareCodePoints } from '../../shared/json/canonical-json.ts';
import { maxNesting } from '../../shared/json/json-text.ts';
import type { Part } from '../ledger/manifest.ts';
import { stripeFacts } from '../stream/read-stream.ts';
import type { Findings } from './breaks.ts';

export type LineChecker = (line: string, number: number, findings: Findings) => void;

/** The last instant that a Date can hold. */
const maxInstantMs = 8.64e15;

/** Events of one part: canonical, of the day, in order, between the first and the last that the manifest names. */
export function partChecker(
  place: { readonly part: Part; readonly source: string; readonly day: Day },
  onEvent: (id: string, kind: 'stripe' | 'events', line: string) => void,
): { readonly each: LineChecker; end(findings: Findings): void } {
  const { part, source, day } = place;
  let before: { id: string; instantMs: number } | undefined;
  let first: number | undefined;
  return {
    each(line, number, findings) {
      const event = readObject(line);
      if (event === undefined || !isCanonical(line)) {
        findings.add('content_wrong', 'is not a canonical JSON object', number);
        if (event === undefined) return;
      }
      const facts = eventFacts(event, source);
      if (facts === undefined) {
        findings.add('content_wrong', 'is not an event of this source', number);
        return;
      }
      if (before !== undefined && compareEvents(before, facts) >= 0) {
        findings.add('content_wrong', 'is out of order', number);
      }
      if (dayOf(facts.instantMs) !== day) findings.add('content_wrong', 'is an event of another day', number);
      first ??= facts.instantMs;
      before = facts;
      onEvent(facts.id, facts.kind, line);
    },
    end(findings) {
      const named = [part.firstCreated, part.lastCreated].join(' to ');
      const found = [first, before?.instantMs].map((ms) => (ms === undefined ? 'none' : new Date(ms).toISOString()));
      if (found.join(' to ') !== named) {
        findings.add('content_wrong', `its events are from ${found.join(' to ')}, not ${named}`);
      }
    },
  };
}

/** A line of evidence. */
export interface Delivery {
  readonly id: string;
  readonly receivedat: string;
  readonly scheme: string;
  readonly body: string;
  readonly keyid?: string;
  readonly signedheaders?: string;
  readonly path?: string;
}

/** Deliveries: sorted by (id, receivedat, body), none twice. `onDelivery` tells of each, and whether its id is a new one. */
export function deliveriesChecker(
  onDelivery: (delivery: Delivery, isNewId: boolean, number: number, findings: Findings) => void,
): LineChecker {
  let before: Delivery | undefined;
  /** Lines that (id, receivedat, body) do not tell apart: they differ in how they were signed. */
  let alike: string[] = [];
  return (line, number, findings) => {
    const delivery = readDelivery(line);
    if (delivery === undefined) {
      findings.add('content_wrong', 'is not a delivery', number);
      return;
    }
    const order = before === undefined ? -1 : compareDeliveries(before, delivery);
    if (order > 0) findings.add('content_wrong', 'is out of order', number);
    if (order !== 0) alike = [];
    if (alike.includes(line)) findings.add('content_wrong', 'is there twice', number);
    alike.push(line);
    onDelivery(delivery, before?.id !== delivery.id, number, findings);
    before = delivery;
  };
}

/** Records of the quarantine. */
export const quarantineChecker: LineChecker = (line, number, findings) => {
  const record = readObject(line);
  const members = ['partition', 'position', 'reason', 'raw'];
  if (record === undefined || members.some((name) => typeof record[name] !== 'string')) {
    findings.add('content_wrong', 'is not a quarantined record', number);
  }
};

export function readObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return value as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

export function isCanonical(line: string): boolean {
  try {
    // A CloudEvent's line is one level deeper than the data in it.
    return canonicalJson(line, maxNesting + 1) === line;
  } catch {
    return false;
  }
}

function eventFacts(
  event: Record<string, unknown>,
  source: string,
): { id: string; instantMs: number; kind: 'stripe' | 'events' } | undefined {
  const kind = isCloudEventLine(event) ? 'events' : 'stripe';
  if (kind === 'events' && event.source !== `/events/${source}`) return undefined;
  const instantMs =
    kind === 'stripe'
      ? stripeFacts(event).instantMs
      : typeof event.time === 'string'
        ? parseInstant(event.time)
        : undefined;
  if (typeof event.id !== 'string' || instantMs === undefined || Math.abs(instantMs) > maxInstantMs) return undefined;
  return { id: event.id, instantMs, kind };
}

function readDelivery(line: string): Delivery | undefined {
  const delivery = readObject(line);
  if (delivery === undefined) return undefined;
  const required = ['id', 'receivedat', 'via', 'scheme', 'body'];
  const optional = ['keyid', 'signedheaders', 'path'];
  if (required.some((name) => typeof delivery[name] !== 'string')) return undefined;
  if (optional.some((name) => delivery[name] !== undefined && typeof delivery[name] !== 'string')) return undefined;
  if (parseInstant(delivery.receivedat as string) === undefined) return undefined;
  return delivery as unknown as Delivery;
}

interface PlacedEvent {
  readonly id: string;
  readonly instantMs: number;
}

function compareEvents(a: PlacedEvent, b: PlacedEvent): number {
  return a.instantMs - b.instantMs || compareCodePoints(a.id, b.id);
}

function compareDeliveries(a: Delivery, b: Delivery): number {
  return (
    compareCodePoints(a.id, b.id) || compareCodePoints(a.receivedat, b.receivedat) || compareCodePoints(a.body, b.body)
  );
}
