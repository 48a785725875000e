/** What arrives, what waits, what the nights did, and the means to start one. */
import type { IngestNow, Now, StreamNow } from '../console/now-shapes.ts';
import type { Visitor } from '../gate/gate.ts';
import { bytes, duration, figure, rate, sign, time, timeOfDay } from './format.ts';
import { type Page, tokenField } from './frame.ts';
import { type Html, html } from './html.ts';
import { type JobBoard, jobsSection } from './jobs.ts';

export function nowPage(now: Now, board: JobBoard, visitor: Visitor): Page {
  const { ingests, stream, disks, newestNight, nextNightAt, at } = now;
  return {
    title: 'Now',
    archive: now.archive,
    body: html`<div class="bar"><h1>Now</h1><p>As of ${time(at)}. <a href="/now">Look again</a></p></div>
<dl class="tiles">
<div${stream.trouble !== null && html` class="bad"`}><dt>Waits in the stream</dt><dd>${lag(stream)}</dd></div>
<div><dt>Last night's manifest</dt><dd>${newestNight === null ? 'none yet' : html`${newestNight.number} <small>${time(newestNight.createdAt)}</small>`}</dd></div>
<div><dt>Next night</dt><dd>${nextNightAt === null ? 'the schedule is off' : nextNightAt <= at ? 'is due' : timeOfDay(nextNightAt)}</dd></div>
${disks.map(({ path, freeBytes, totalBytes }) => html`<div${isFull(freeBytes, totalBytes) && html` class="bad"`}><dt>Room at ${path}</dt><dd>${bytes(freeBytes)} <small>of ${bytes(totalBytes)}</small></dd></div>`)}
</dl>
<section class="card" aria-labelledby="work"><h2 id="work">Nights and other work</h2>
${visitor.role === 'acts' ? forms(visitor) : html`<p>You may read. Who may act sees here how to start a night.</p>`}
${jobsSection(board)}</section>
${ingests.length === 0 && html`<section class="card"><h2>What arrives</h2><p>No ingest is configured here: COMPACTOR_INGESTS names their admin listeners.</p></section>`}
${ingests.map(ingest)}`,
  };
}

function isFull(free: number | null, total: number | null): boolean {
  return free !== null && total !== null && free < total / 10;
}

function lag({ lag: records, trouble, type, at }: StreamNow): Html {
  if (trouble !== null) return html`${trouble.message} <small>${trouble.code}</small>`;
  if (records === null) return html`not told <small>by ${type}</small>`;
  return html`${figure(records)} <small>records, ${type}${at !== null && html`, ${time(at)}`}</small>`;
}

function forms(visitor: Visitor): Html {
  return html`<div class="forms">
<form method="post" action="/now/run">${tokenField(visitor)}<h3>Run a night</h3>
<p>Closes each day that is over and asks Stripe what is due.</p>
<p><label for="day">This day alone</label> <input id="day" type="date" name="day" aria-describedby="day-hint"> <small id="day-hint">empty: all</small></p>
<p class="check"><input type="checkbox" id="force" name="force" value="yes"><label for="force">Ask Stripe again though it is not due</label></p>
<button class="main">Run now</button></form>
<form method="post" action="/now/verify">${tokenField(visitor)}<h3>Verify</h3>
<p>Checks the chain, the signatures and the hash of every object.</p>
<p class="check"><input type="checkbox" id="strict" name="strict" value="yes"><label for="strict">An incomplete day is a fault</label></p>
<button class="main">Verify now</button></form>
<form method="post" action="/now/prune">${tokenField(visitor)}<h3>What would prune delete?</h3>
<p>A dry run by the configured ages: it changes nothing.</p>
<button class="main">Dry run</button></form>
</div>`;
}

function ingest({ address, trouble, startedAt, overSeconds, sources, refusals, spool, circuit }: IngestNow): Html {
  const name = `ingest ${address}`;
  if (trouble !== null) {
    return html`<section class="card" aria-label="${name}"><h2>${name}</h2><p class="notice bad">${trouble.message} <code>${trouble.code}</code></p></section>`;
  }
  const kinds = [...new Set(sources.flatMap(({ requests }) => Object.keys(requests)))].sort();
  return html`<section class="card" aria-label="${name}"><div class="bar"><h2>${name}</h2><p>up since ${time(startedAt)}${overSeconds !== null && html`; rates are of the last ${duration(overSeconds)}`}</p></div>
<dl class="facts">
<div><dt>Circuit to the stream</dt><dd>${circuit === null ? '–' : html`${sign(circuit === 'closed' ? 'complete' : circuit === 'open' ? 'incomplete' : 'provisional')} ${circuit === 'closed' ? 'closed: all goes to the stream' : circuit === 'open' ? 'open: all goes to the spool' : 'half open: it tries'}`}</dd></div>
<div><dt>Spool</dt><dd>${spool.isUp === false ? html`${sign('incomplete')} takes nothing` : html`${figure(spool.records)} records, ${bytes(spool.bytes)}`}</dd></div>
<div><dt>Oldest in the spool</dt><dd>${spool.oldestSeconds === null || (spool.records ?? 0) === 0 ? '–' : duration(spool.oldestSeconds)}</dd></div>
<div><dt>Dead letters</dt><dd>${(spool.deadLetters ?? 0) > 0 && sign('late')} ${figure(spool.deadLetters)}</dd></div>
</dl>
<div class="scroll" tabindex="0" role="region" aria-label="Figures of ${name}"><table><thead><tr><th scope="col">Source</th><th scope="col" class="r">Events a minute</th><th scope="col" class="r">Events</th>${kinds.map((kind) => html`<th scope="col" class="r">Requests: ${kind}</th>`)}</tr></thead>
<tbody>${sources.map(
    ({ source, events, requests }) =>
      html`<tr><th scope="row">${source === '_unknown' ? 'of nobody known' : source}</th><td class="r">${rate(events.perMinute)}</td><td class="r">${figure(events.total)}</td>${kinds.map((kind) => html`<td class="r">${figure(requests[kind]?.total ?? 0)}</td>`)}</tr>`,
  )}</tbody></table></div>
${
  refusals.length > 0 &&
  html`<div class="scroll" tabindex="0" role="region" aria-label="Refusals of ${name}"><table><thead><tr><th scope="col">Refused for</th><th scope="col" class="r">A minute</th><th scope="col" class="r">In all</th></tr></thead>
<tbody>${refusals.map(({ code, total, perMinute }) => html`<tr><th scope="row"><code>${code}</code></th><td class="r">${rate(perMinute)}</td><td class="r">${figure(total)}</td></tr>`)}</tbody></table></div>`
}
</section>`;
}
