/** Where an event is: in a spool, in the stream, in which day and part. */
import type { ArchivedEvent, EventSearch, FoundRecord } from '../console/event-shapes.ts';
import { badge, bytes, dayName, dayPath, figure, sign, time } from './format.ts';
import type { Page } from './frame.ts';
import { type Html, html } from './html.ts';

export function findPage(
  id: string,
  sources: readonly string[],
  source: string,
  search: EventSearch | undefined,
): Page {
  return {
    title: search === undefined ? 'Find an event' : `Find ${id}`,
    ...(search !== undefined && { archive: search.archive }),
    body: html`<h1>Find an event</h1>
<form class="find card" method="get" action="/find" role="search">
<label for="id">Id of the event</label><input id="id" name="id" value="${id}" required maxlength="255" autocomplete="off" spellcheck="false" aria-describedby="id-hint">
<label for="source">Source</label><select id="source" name="source"><option value="">all</option>${sources.map((name) => html`<option${name === source && html` selected`}>${name}</option>`)}</select>
<button class="main">Find</button>
<p id="id-hint">Such as <code>evt_1NG8Du2eZvKYlo2CUI79vXWy</code>; an event of a server has the id that it was sent with. Ids alone are looked at: no private key is needed, and no body is opened.</p>
</form>
${search !== undefined && results(search, source)}`,
  };
}

function results(search: EventSearch, source: string): Html {
  const { id, isFound, words, spools, stream, archived } = search;
  return html`<section aria-labelledby="found"><h2 id="found">${isFound ? 'Found' : 'Not found'}: <code class="hash">${id}</code></h2>
<div class="notice ${isFound ? 'good' : 'bad'}"><ul>${words.map((sentence) => html`<li>${sentence}</li>`)}</ul></div>
<section class="card" aria-labelledby="in-archive"><h3 id="in-archive">In the archive</h3>
${archived.events.map(archivedEvent)}
${archived.missing.map(({ source, day }) => html`<p>${sign('incomplete')} <a href="${dayPath(source, day)}">${source}, ${dayName(day)}</a>: it is known, and could not be had.</p>`)}
${archived.events.length + archived.missing.length === 0 && html`<p>Not in what was looked at.</p>`}
${archived.damaged.map(({ source, day, message }) => html`<p>${sign('incomplete')} The ids of <a href="${dayPath(source, day)}">${source}, ${dayName(day)}</a> could not be read: ${message}</p>`)}
<p><small>Looked at ${figure(archived.looked)} of ${figure(archived.total)} lists of ids, the newest first.</small></p>
${archived.next !== null && html`<p><a class="button" href="/find?id=${encodeURIComponent(id)}&amp;source=${encodeURIComponent(source)}&amp;before=${archived.next}">Go on with the days before ${archived.next}</a></p>`}</section>
<section class="card" aria-labelledby="in-stream"><h3 id="in-stream">In the stream</h3>
${stream.trouble !== null && html`<p>${sign('late')} ${stream.trouble.message} <code>${stream.trouble.code}</code></p>`}
${records(stream.records.map((record) => ({ ...record, where: `partition ${record.partition}, position ${record.position}`, state: record.isDone ? 'a night is done with it' : 'waits for the night' })))}
<p><small>Looked at ${figure(stream.looked)} records: ${stream.isWhole ? 'all that it keeps.' : stream.isWaitingWhole ? 'all that is not archived yet.' : 'not all that is not archived yet.'}</small></p></section>
${spools.map(
  (
    spool,
  ) => html`<section class="card" aria-label="In the spool of ${spool.ingest}"><h3>In the spool of ${spool.ingest}</h3>
${spool.trouble !== null && html`<p>${sign('late')} ${spool.trouble.message} <code>${spool.trouble.code}</code></p>`}
${spool.records !== null && records(spool.records.map((record) => ({ ...record, where: 'the spool', state: record.isDeadLetter ? 'dead letter' : 'goes to the stream' })))}
${spool.records !== null && html`<p><small>Looked at ${figure(spool.looked)} records${spool.isWhole ? ': all of them.' : '.'}</small></p>`}</section>`,
)}</section>`;
}

const origins = {
  delivered: 'A delivery brought it.',
  recovered: 'It was recovered from the list.',
  unknown: 'Delivered or recovered: the sealed part tells which.',
};

function archivedEvent({ source, day, verdict, part, manifest, archivedAt, origin, pruned }: ArchivedEvent): Html {
  return html`<p>${badge(verdict)} <a href="${dayPath(source, day)}">${source}, ${dayName(day)}</a>. ${origins[origin]}</p>
<dl class="facts wide"><div><dt>Part</dt><dd><code class="hash">${part}</code></dd></div>
<div><dt>Manifest</dt><dd>${manifest}, ${time(archivedAt)}</dd></div>
${pruned !== null && html`<div><dt>Deleted</dt><dd>by rule <code>${pruned.rule}</code>, as manifest ${pruned.manifest} says; its id is kept</dd></div>`}</dl>`;
}

type ShownRecord = FoundRecord & { readonly where: string; readonly state: string };

function records(found: readonly ShownRecord[]): Html {
  if (found.length === 0) return html`<p>Not in what was looked at.</p>`;
  return html`${found.map(
    (
      record,
    ) => html`<article class="record"><p><strong>${record.source}</strong> ${record.type}, ${record.state}</p><dl class="facts">
<div><dt>Received</dt><dd>${time(record.receivedAt)}</dd></div>
<div><dt>Claims the day</dt><dd>${record.day ?? '–'}</dd></div>
<div><dt>By</dt><dd>${record.via}, ${record.scheme}</dd></div>
<div><dt>Key</dt><dd>${record.keyid === null ? '–' : html`<code>${record.keyid}</code>`}</dd></div>
<div><dt>Size</dt><dd>${bytes(record.bytes)}</dd></div>
<div><dt>Where</dt><dd>${record.where}</dd></div></dl></article>`,
  )}`;
}
