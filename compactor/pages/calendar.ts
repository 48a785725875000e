/** The calendar: a month and the one before it, source by source, with the edge at which Stripe's list ends. */
import { counted } from '../../shared/program/counted.ts';
import { daysOver, recoveredAlone } from '../console/day-words.ts';
import type { Calendar, CalendarDay, CalendarOfSource, DayStanding } from '../console/shapes.ts';
import {
  badge,
  dayName,
  dayPath,
  figure,
  monthAfter,
  monthName,
  shortFigure,
  sign,
  time,
  twinsTerm,
} from './format.ts';
import type { Page } from './frame.ts';
import { type Html, html } from './html.ts';

const weekdays = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const legend: readonly DayStanding[] = [
  ...(['complete', 'provisional', 'incomplete', 'unverifiable', 'unreconciled', 'late', 'open'] as const),
];
/** Stripe lists a day for so many days after it. */
const listedDays = 30;
const maxSaid = 12;

/** `before` is the month before `calendar`. */
export function calendarPage(calendar: Calendar, before: Calendar): Page {
  const { month, today, months, archive } = calendar;
  const isNow = month === today.slice(0, 7);
  const beforeBySource = new Map(before.sources.map((source) => [source.source, source]));
  const [oldest = month] = months;
  return {
    title: monthName(month),
    archive,
    body: html`<div class="bar"><h1>${monthName(month)}</h1>
<nav class="steps" aria-label="Months">
${monthAfter(month, -1) >= oldest && html`<a class="button" href="/?month=${monthAfter(month, -1)}">← ${monthName(monthAfter(month, -1))}</a>`}
${!isNow && html`<a class="button" href="/?month=${monthAfter(month, 1)}">${monthName(monthAfter(month, 1))} →</a>`}
<form method="get" action="/"><label for="month">Go to</label>
<select id="month" name="month">${monthsToGo(months, month, today).map(
      (each) => html`<option value="${each}"${each === month && html` selected`}>${monthName(each)}</option>`,
    )}</select><button>Show</button></form>
</nav></div>
${summary(calendar)}
${said(calendar, before, isNow)}
<ul class="legend" aria-label="Signs">${legend.map((standing) => html`<li>${badge(standing)}</li>`)}</ul>
${calendar.sources.length === 0 && html`<p class="card">No source has a day yet. The first night makes the first entries.</p>`}
${calendar.sources.map((source) => sourceCard(source, beforeBySource.get(source.source), calendar, before.month, isNow))}`,
  };
}

/** The newest first. */
function monthsToGo(months: readonly string[], month: string, today: string): string[] {
  return [...new Set([...months, month, today.slice(0, 7)])].sort().reverse();
}

function summary({ sources, archive, month }: Calendar): Html {
  const sum = (of: (source: CalendarOfSource) => number) => sources.reduce((total, source) => total + of(source), 0);
  const complete = sum(({ totals }) => totals.byStanding.complete);
  const over = sum(({ totals }) => daysOver(totals));
  const missing = sum(({ totals }) => totals.missing);
  return html`<dl class="tiles">
<div><dt>Days complete in ${monthName(month)}</dt><dd>${figure(complete)} <small>of ${figure(over)} that ${over === 1 ? 'is' : 'are'} over</small></dd></div>
<div><dt>Events</dt><dd>${figure(sum(({ totals }) => totals.events))}</dd></div>
<div><dt>Recovered from the list</dt><dd>${figure(sum(({ totals }) => totals.recovered))}</dd></div>
<div${missing > 0 && html` class="bad"`}><dt>Known and missing</dt><dd>${figure(missing)}</dd></div>
<div><dt>Newest manifest</dt><dd>${archive.head === null ? 'none' : html`${archive.head.number} <small>${time(archive.head.createdAt)}</small>`}</dd></div>
</dl>`;
}

const isWorthSaying = ({ standing, isNearRetention, missing, counts }: CalendarDay) =>
  standing === 'incomplete' ||
  standing === 'late' ||
  isNearRetention ||
  (missing ?? 0) > 0 ||
  (counts?.lostAfter2xx ?? 0) > 0;

/** What somebody should look at, in words: days of both months, and holes of the stream. */
function said(calendar: Calendar, before: Calendar, isNow: boolean): Html | false {
  const shown = isNow ? [before, calendar] : [calendar];
  const days = shown.flatMap(({ sources }) =>
    sources.flatMap(({ source, days }) => days.filter(isWorthSaying).map((day) => ({ source, day }))),
  );
  const { holes } = calendar;
  if (days.length + holes.length === 0) {
    return (
      isNow &&
      html`<p class="notice good">${sign('complete')} Nothing needs you: no hole in the stream, no day that is incomplete or late, none about to leave Stripe's list.</p>`
    );
  }
  return html`<section class="notice bad" aria-label="Needs you"><h2>Needs you</h2><ul>
${days.slice(0, maxSaid).map(({ source, day }) => html`<li>${day.counts === null ? html`<b>${source}, ${dayName(day.day)}</b>` : html`<a href="${dayPath(source, day.day)}">${source}, ${dayName(day.day)}</a>`} ${badge(day.standing)} ${day.words.join(' ')}</li>`)}
${days.length > maxSaid && html`<li>${days.length - maxSaid} more days: see below.</li>`}
${holes.slice(0, maxSaid).map((hole) => html`<li><strong>Hole in the stream</strong> ${hole.words}</li>`)}
${holes.length > maxSaid && html`<li>${holes.length - maxSaid} more holes.</li>`}
</ul></section>`;
}

function sourceCard(
  source: CalendarOfSource,
  before: CalendarOfSource | undefined,
  { month, today }: Calendar,
  monthBefore: string,
  isNow: boolean,
): Html {
  const { source: name, totals, listEdge, isConfigured } = source;
  const days = [...(before?.days ?? []), ...source.days];
  return html`<section class="card source" aria-labelledby="source-${name}">
<div class="bar"><h2 id="source-${name}">${name}</h2>
<p class="totals">${figure(totals.delivered)} delivered + ${figure(totals.recovered)} recovered${twinsTerm(totals.twins)} = <strong>${counted(totals.events, 'event')}</strong> in ${monthName(month)} · <a href="/report?month=${month}&amp;source=${name}">report<span class="hidden"> of ${name}</span></a></p></div>
${!isConfigured && html`<p>Not configured any more: its days of the past stay.</p>`}
${isNow && listEdge !== null && ruler(name, days, today, listEdge)}
<div class="months">${before?.days.some(({ counts }) => counts !== null) && monthTable(before, monthBefore)}${monthTable(source, month)}</div>
</section>`;
}

const isSettled = ({ standing }: CalendarDay) => standing === 'complete' || standing === 'unreconciled';

/** The days that Stripe still lists, by how long it will: whatever is not settled drifts to the edge on the left. */
function ruler(name: string, days: readonly CalendarDay[], today: string, edge: string): Html {
  const listed = days.filter(({ day, daysLeft }) => day >= edge && day <= today && daysLeft !== null);
  const open = listed.filter((day) => !isSettled(day) && day.standing !== 'open');
  const [nearest] = open;
  const words =
    nearest === undefined
      ? 'Every closed day that it still lists is settled.'
      : `${open.length === 1 ? 'One day is' : `${open.length} days are`} not settled; the nearest, ${dayName(nearest.day)}, leaves the list ${leaves(nearest.daysLeft!)}.`;
  return html`<figure class="ruler"><figcaption id="ruler-${name}">Stripe's list reaches back to <strong>${dayName(edge)}</strong>, the edge on the left, and loses a day each day. ${words}</figcaption>
<svg viewBox="0 0 ${listedDays * 10 + 6} 22" aria-hidden="true">
<path class="edge" d="M3 0v22"/>
${listed.map(({ daysLeft, standing }) => html`<rect class="${standing}" x="${6 + daysLeft! * 10}" y="${isOpenMark(standing) ? 3 : 7}" width="8.5" height="${isOpenMark(standing) ? 16 : 8}" rx="1.5"/>`)}
</svg></figure>`;
}

const isOpenMark = (standing: DayStanding) => !['complete', 'unreconciled', 'open'].includes(standing);

function leaves(daysLeft: number): string {
  if (daysLeft <= 0) return 'after today';
  return daysLeft === 1 ? 'after tomorrow' : `in ${daysLeft} days`;
}

function monthTable({ source, days, listEdge }: CalendarOfSource, month: string): Html {
  const [first] = days;
  if (first === undefined) return html``;
  const lead = (new Date(`${first.day}T00:00:00Z`).getUTCDay() + 6) % 7;
  const cells: (CalendarDay | undefined)[] = [...Array<undefined>(lead).fill(undefined), ...days];
  const weeks = Array.from({ length: Math.ceil(cells.length / 7) }, (_, week) => cells.slice(week * 7, week * 7 + 7));
  return html`<table class="month"><caption>${monthName(month)}<span class="hidden"> of ${source}</span></caption>
<thead><tr>${weekdays.map((name) => html`<th scope="col"><abbr title="${name}">${name.slice(0, 2)}</abbr></th>`)}</tr></thead>
<tbody>${weeks.map(
    (week) =>
      html`<tr>${week.map((day) => (day === undefined ? html`<td></td>` : html`<td>${cell(source, day, listEdge)}</td>`))}</tr>`,
  )}</tbody></table>`;
}

function cell(source: string, day: CalendarDay, listEdge: string | null): Html {
  const { standing, events } = day;
  const classes = `day ${standing}${day.day === listEdge ? ' edge' : ''}${day.isNearRetention ? ' near' : ''}`;
  const inside = html`<span class="number" aria-hidden="true">${Number(day.day.slice(8))}</span>${sign(standing)}<span class="count" aria-hidden="true">${events === null || events === 0 ? '' : shortFigure(events)}</span>`;
  // Without an entry there is no page to go to.
  if (day.counts === null)
    return html`<span class="${classes}">${inside}<span class="hidden">${describe(day, listEdge)}</span></span>`;
  return html`<a class="${classes}" href="${dayPath(source, day.day)}">${inside}<span class="tip">${describe(day, listEdge)}</span></a>`;
}

function describe({ day, standing, counts, events, missing, words }: CalendarDay, listEdge: string | null): Html {
  const [first, ...others] = words;
  return html`<b>${dayName(day)}.</b> ${standing === 'complete' ? 'Complete.' : first} ${
    counts !== null &&
    html`${figure(counts.delivered)} delivered + ${figure(recoveredAlone(counts))} recovered${twinsTerm(counts.twins)} = ${figure(events)} events. ${
      counts.listed !== null && html`${figure(counts.listed)} listed, ${figure(counts.notListed)} not. `
    }${(missing ?? 0) > 0 && html`${figure(missing)} missing. `}`
  }${others.join(' ')}${day === listEdge && html` Here Stripe's list ends.`}`;
}
