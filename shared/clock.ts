/** Time as a parameter: the simulation and the drills pass their own. */
export interface Clock {
  now(): Date;
}

export const systemClock: Clock = { now: () => new Date() };

export const dayMs = 86_400_000;

/** A UTC day as `2026-11-20`. */
export type Day = string;

export function dayOf(instant: Date | number): Day {
  return new Date(instant).toISOString().slice(0, 10);
}

export function startOfDayMs(day: Day): number {
  return Date.parse(`${day}T00:00:00.000Z`);
}

export function addDays(day: Day, days: number): Day {
  return dayOf(startOfDayMs(day) + days * dayMs);
}

const rfc3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Milliseconds since the epoch of an RFC 3339 date-time (fractions cut to the millisecond), or undefined. */
export function parseInstant(text: string): number | undefined {
  const match = rfc3339.exec(text);
  if (match === null) return undefined;
  const [, year, month, date] = match;
  // Date.parse rolls 30 February over into March; a day that does not exist is no date.
  const calendar = new Date(`${year}-${month}-${date}T00:00:00Z`);
  if (Number.isNaN(calendar.getTime()) || calendar.getUTCDate() !== Number(date)) return undefined;
  const instant = Date.parse(text.toUpperCase().replace(/(\.\d{3})\d+/, '$1'));
  return Number.isNaN(instant) ? undefined : instant;
}
