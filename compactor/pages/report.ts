/** The report of a month, to be printed and filed: the same as `daybook-compactor report` gives. */
import { daysOver, recoveredAlone } from '../console/day-words.ts';
import type { Report, ReportDay, ReportOfSource } from '../console/report-shapes.ts';
import { badge, dayName, figure, hash, knownFigure, monthAfter, monthName, sign, time, twinsTerm } from './format.ts';
import type { Page } from './frame.ts';
import { type Html, html } from './html.ts';

export interface ReportChoice {
  readonly month: string;
  readonly source: string;
  readonly sources: readonly string[];
}

export function reportPage(report: Report, { month, source, sources }: ReportChoice): Page {
  const { totals, archive } = report;
  const over = daysOver(totals);
  const isAnyListed = report.sources.some(({ isListed }) => isListed);
  return {
    title: `Report of ${monthName(month)}${source === '' ? '' : `, ${source}`}`,
    archive,
    body: html`<div class="bar"><h1>Report of ${monthName(month)}${source !== '' && html`, ${source}`}</h1>
<form method="get" action="/report" class="steps screen"><label for="month">Month</label><input id="month" type="month" name="month" value="${month}" pattern="[0-9]{4}-[0-9]{2}" required>
<label for="source">Source</label><select id="source" name="source"><option value="">all</option>${sources.map((name) => html`<option${name === source && html` selected`}>${name}</option>`)}</select><button>Show</button>
<a class="button" href="/report?month=${monthAfter(month, -1)}${source !== '' && html`&amp;source=${source}`}">← ${monthName(monthAfter(month, -1))}</a>
<button type="button" class="main" data-print hidden>Print</button></form></div>
<div class="notice${noticeOf(report)}"><ul>${report.words.map((sentence) => html`<li>${sentence}</li>`)}</ul></div>
<dl class="facts wide"><div><dt>Archive</dt><dd>${archive.location}${archive.prefix !== '' && html` · ${archive.prefix}`}</dd></div>
<div><dt>Made from manifest</dt><dd>${archive.head === null ? 'none' : html`${archive.head.number} of ${time(archive.head.createdAt)}, ${hash(archive.head.sha256)}`}</dd></div></dl>
<dl class="tiles">
<div><dt>Received</dt><dd>${figure(totals.delivered)}</dd></div>
<div><dt>Recovered</dt><dd>${figure(totals.recovered)}</dd></div>
<div><dt>Events</dt><dd>${figure(totals.events)}</dd></div>
<div${totals.missing > 0 && html` class="bad"`}><dt>Missing</dt><dd>${knownFigure(totals.missing, isAnyListed)}</dd></div>
<div><dt>Days complete</dt><dd>${figure(totals.byStanding.complete)} <small>of ${figure(over)} that ${over === 1 ? 'is' : 'are'} over</small></dd></div>
</dl>
${report.sources.map(ofSource)}
${report.holes.length > 0 && html`<section class="notice bad" aria-labelledby="holes"><h2 id="holes">Holes of the stream</h2><ul>${report.holes.map(({ words }) => html`<li>${words}</li>`)}</ul></section>`}
<section class="card" aria-labelledby="manifests"><h2 id="manifests">Manifests</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Table of manifests"><table class="small"><thead><tr><th scope="col" class="r">Number</th><th scope="col">Made</th><th scope="col">Signed by</th><th scope="col">SHA-256</th></tr></thead>
<tbody>${report.manifests.map(({ number, createdAt, signer, sha256 }) => html`<tr><th scope="row" class="r">${number}</th><td>${time(createdAt)}</td><td>${hash(signer)}</td><td>${hash(sha256)}</td></tr>`)}</tbody></table></div></section>
<section class="card" aria-labelledby="checks"><h2 id="checks">How to check this</h2>
<p>In a folder that holds the objects under their keys, with stock tools alone:</p>
${report.checks.map(({ title, command, expected }) => html`<h3>${title}</h3><pre class="scroll" tabindex="0" role="region" aria-label="${title}">${multiline(command)}</pre>${expected === '' ? html`<p>It should print nothing.</p>` : html`<p>It should print:</p><pre class="scroll" tabindex="0" role="region" aria-label="${title}: what it should print">${multiline(expected)}</pre>`}`)}</section>`,
  };
}

/** Red where somebody should look; a month that goes on, or waits for the list, is neither good nor bad. */
function noticeOf({ isComplete, sources, totals: { byStanding } }: Report): string {
  if (isComplete && sources.every(({ pending }) => pending.length === 0)) return ' good';
  return byStanding.incomplete + byStanding.late > 0 ? ' bad' : '';
}

/** Line feeds are kept: each line is escaped for itself. */
function multiline(text: string): Html {
  return html`${text.split('\n').map((line, index) =>
    index === 0
      ? html`${line}`
      : html`
${line}`,
  )}`;
}

function ofSource({ source, days, totals, isComplete, isListed }: ReportOfSource): Html {
  return html`<section class="card" aria-labelledby="source-${source}"><div class="bar"><h2 id="source-${source}">${source}</h2>
<p>${sign(isComplete ? 'complete' : 'provisional')} ${isComplete ? 'Every day is complete.' : 'Not every day is complete.'} ${!isListed && 'There is no list to compare with.'}</p></div>
<p class="sum">${figure(totals.delivered)} received + ${figure(totals.recovered)} recovered${twinsTerm(totals.twins)} = <strong>${figure(totals.events)} events</strong>, ${knownFigure(totals.missing, isListed)} missing</p>
<div class="scroll" tabindex="0" role="region" aria-label="Days of ${source}"><table class="small"><thead><tr><th scope="col">Day</th><th scope="col">Verdict</th><th scope="col" class="r">Received</th><th scope="col" class="r">Recovered</th><th scope="col" class="r">Events</th><th scope="col" class="r">Listed</th><th scope="col" class="r">Not listed</th><th scope="col" class="r">Missing</th><th scope="col" class="r">Manifest</th></tr></thead>
<tbody>${days.map(dayRow)}</tbody></table></div>
${days.filter(({ missing }) => missing.length > 0).map(({ day, missing }) => html`<p>${sign('incomplete')} Missing of ${dayName(day)}: ${missing.map((id, index) => html`${index > 0 && ', '}<code class="hash">${id}</code>`)}</p>`)}
</section>`;
}

function dayRow({ day, standing, counts, events, missing, generationFailures, manifest }: ReportDay): Html {
  return html`<tr><th scope="row">${day}</th><td>${badge(standing)}</td><td class="r">${figure(counts?.delivered)}</td><td class="r">${figure(counts && recoveredAlone(counts))}</td><td class="r">${figure(events)}</td><td class="r">${figure(counts?.listed)}</td><td class="r">${figure(counts?.notListed)}</td><td class="r">${knownFigure(missing.length + generationFailures, (counts?.listed ?? null) !== null)}</td><td class="r">${manifest ?? '–'}</td></tr>`;
}
