/** How figures, times and names are shown. */
import type { DayStanding } from '../console/shapes.ts';
import { type Html, html } from './html.ts';

export function figure(count: number | null | undefined): string {
  return count === null || count === undefined ? '–' : count.toLocaleString('en');
}

/** What stands behind those that were recovered, where a twin of some events was delivered. */
export function twinsTerm(twins = 0): string {
  return twins === 0 ? '' : ` + ${figure(twins)} twins of what was delivered`;
}

/** Of what is missing: 0 is nothing that anybody can say where no list was asked. */
export function knownFigure(missing: number | null, wasListed: boolean): string {
  return figure(missing === 0 && !wasListed ? null : missing);
}

/** For a place of four characters: 1.2k, 34M. */
export function shortFigure(count: number): string {
  const units = ['', 'k', 'M', 'G'];
  const unit = count < 1000 ? 0 : Math.min(Math.floor(Math.log10(count) / 3), units.length - 1);
  const size = count / 1000 ** unit;
  return `${unit === 0 || size >= 10 ? Math.floor(size) : size.toFixed(1)}${units[unit]}`;
}

export function rate(perMinute: number | null): string {
  if (perMinute === null) return '–';
  return perMinute.toLocaleString('en', { maximumFractionDigits: perMinute < 10 ? 1 : 0 });
}

export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const unit = count < 1000 ? 0 : Math.min(Math.floor(Math.log10(count) / 3), units.length - 1);
  const size = count / 1000 ** unit;
  return `${unit === 0 || size >= 100 ? Math.floor(size) : size.toFixed(1)} ${units[unit]}`;
}

/** Of an RFC 3339 UTC time, to the second. */
export function time(instant: string | null | undefined): Html {
  if (instant === null || instant === undefined) return html`–`;
  return html`<time datetime="${instant}">${instant.replace('T', ' ').replace(/(?:\.\d+)?Z$/, '')} UTC</time>`;
}

/** Of a tile: the time of the day large, its day small. */
export function timeOfDay(instant: string): Html {
  return html`<time datetime="${instant}">${instant.slice(11, 16)} <small>${instant.slice(0, 10)} UTC</small></time>`;
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A hash in full, to be compared and copied; it may break anywhere. */
export function hash(text: string): Html {
  return html`<code class="hash">${text}</code>`;
}

const monthNames = [
  ...['January', 'February', 'March', 'April', 'May', 'June'],
  ...['July', 'August', 'September', 'October', 'November', 'December'],
];

/** `November 2026` of `2026-11`. */
export function monthName(month: string): string {
  return `${monthNames[Number(month.slice(5, 7)) - 1] ?? month.slice(5, 7)} ${month.slice(0, 4)}`;
}

/** `20 November 2026` of `2026-11-20`. */
export function dayName(day: string): string {
  return `${Number(day.slice(8))} ${monthName(day.slice(0, 7))}`;
}

/** `2026-10` of `2026-11` and -1. */
export function monthAfter(month: string, months: number): string {
  const at = Number(month.slice(0, 4)) * 12 + Number(month.slice(5, 7)) - 1 + months;
  return `${String(Math.floor(at / 12)).padStart(4, '0')}-${String((at % 12) + 1).padStart(2, '0')}`;
}

export function dayPath(source: string, day: string): string {
  return `/days/${encodeURIComponent(source)}/${encodeURIComponent(day)}`;
}

/** The sign alone; its words stand beside it. */
export function sign(standing: DayStanding): Html {
  return html`<svg class="sign" aria-hidden="true"><use href="#${standing}"/></svg>`;
}

export function badge(standing: DayStanding): Html {
  return html`<span class="badge ${standing}">${sign(standing)}${standing}</span>`;
}
