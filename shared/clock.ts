/** Time as a parameter: the simulation and the drills pass their own. */
export interface Clock {
  now(): Date;
}

export const systemClock: Clock = { now: () => new Date() };

export const dayMs = 86_400_000;

let lastIso = { ms: Number.NaN, text: '' };

/** RFC 3339 in UTC with milliseconds. What comes together is of one millisecond, whose text is remembered. */
export function isoOf(ms: number): string {
  if (ms !== lastIso.ms) lastIso = { ms, text: new Date(ms).toISOString() };
  return lastIso.text;
}

/** A UTC day as `2026-11-20`. */
export type Day = string;

export function dayOf(instant: Date | number): Day {
  const number = Math.floor(Number(instant) / dayMs);
  // Records of one day come together: the last answer is remembered.
  if (number !== lastDay.number) lastDay = { number, day: new Date(number * dayMs).toISOString().slice(0, 10) };
  return lastDay.day;
}

let lastDay = { number: 0, day: '1970-01-01' };

/** Whether a text is a UTC day. */
export function isDay(text: string): text is Day {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? startOfDayMs(text) : Number.NaN;
  return !Number.isNaN(ms) && dayOf(ms) === text;
}

export function startOfDayMs(day: Day): number {
  return Date.parse(`${day}T00:00:00.000Z`);
}

export function addDays(day: Day, days: number): Day {
  return dayOf(startOfDayMs(day) + days * dayMs);
}

const rfc3339 =
  /^(\d{4}-\d{2}-\d{2})[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(\.\d+)?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/;

/** Milliseconds since the epoch of an RFC 3339 date-time (fractions cut to the millisecond), or undefined. */
export function parseInstant(text: string): number | undefined {
  const match = rfc3339.exec(text);
  if (match === null) return undefined;
  const [, date, hour, minute, second, fraction = '', sign, offsetHours, offsetMinutes] = match;
  // Records of one day come together: the last answer is remembered.
  if (date !== lastDate.text) lastDate = { text: date!, ms: msOfDate(date!) };
  if (lastDate.ms === undefined) return undefined;
  const ms = Number(fraction.slice(1, 4).padEnd(3, '0'));
  const offset = sign === undefined ? 0 : (Number(offsetHours) * 60 + Number(offsetMinutes)) * (sign === '-' ? -1 : 1);
  return lastDate.ms + (Number(hour) * 3600 + Number(minute) * 60 + Number(second)) * 1000 + ms - offset * 60_000;
}

let lastDate: { readonly text: string; readonly ms: number | undefined } = { text: '1970-01-01', ms: 0 };

function msOfDate(text: string): number | undefined {
  const [year, month, date] = text.split('-').map(Number) as [number, number, number];
  // Date.UTC takes the years 0–99 for 1900–1999, and rolls 30 February over into March: neither is a date here.
  if (year < 100) return undefined;
  const ms = Date.UTC(year, month - 1, date);
  return new Date(ms).getUTCDate() !== date || month < 1 || month > 12 ? undefined : ms;
}
