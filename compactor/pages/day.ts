/** One day of one source: what is in it, whether it adds up, and how that came about. */
import { addDays } from '../../shared/clock.ts';
import type { DayDetail, Equation, HoleInWords, PartDetail, SealedObject, TimedLink } from '../console/shapes.ts';
import { badge, bytes, dayName, dayPath, figure, hash, knownFigure, monthName, sign, time } from './format.ts';
import type { Page } from './frame.ts';
import { type Html, html } from './html.ts';

const maxMissingShown = 200;

export function dayPage(detail: DayDetail): Page {
  const { source, standing, archive, manifest, history, missing, generationFailures, accounts, holes } = detail;
  const { day } = standing;
  const month = day.slice(0, 7);
  return {
    title: `${source}, ${dayName(day)}`,
    archive,
    body: html`<nav aria-label="Where this is"><ol class="crumbs"><li><a href="/?month=${month}">${monthName(month)}</a></li><li>${source}</li><li aria-current="page">${day}</li></ol></nav>
<div class="bar"><h1>${source}, ${dayName(day)}</h1>${badge(standing.standing)}
<nav class="steps" aria-label="Days"><a class="button" href="${dayPath(source, addDays(day, -1))}">← Day before</a><a class="button" href="${dayPath(source, addDays(day, 1))}">Day after →</a></nav></div>
<p class="lead">${standing.words.join(' ')}</p>
<section class="card" aria-labelledby="counts"><h2 id="counts">Counts</h2>
${detail.equations.map(equation)}
<dl class="facts">
<div><dt>Duplicates</dt><dd>${figure(standing.counts?.duplicates)}</dd></div>
<div><dt>Copies that differ</dt><dd>${figure(standing.counts?.differing)}</dd></div>
${(standing.counts?.lostAfter2xx ?? 0) > 0 && html`<div><dt>Lost after a 2xx</dt><dd>${figure(standing.counts?.lostAfter2xx)}</dd></div>`}
<div><dt>Missing</dt><dd>${knownFigure(standing.missing, detail.listedAt !== null)}</dd></div>
<div><dt>List asked</dt><dd>${detail.listedAt === null ? 'never' : time(detail.listedAt)}</dd></div>
${standing.listedUntil !== null && html`<div><dt>Stripe lists it until</dt><dd>${standing.listedUntil}</dd></div>`}
${accounts.length > 0 && html`<div><dt>Accounts</dt><dd>${accounts.join(', ')}</dd></div>`}
</dl></section>
${(missing.length > 0 || generationFailures.length > 0 || holes.length > 0) && lacking(detail)}
<section aria-labelledby="parts"><h2 id="parts">Parts</h2>
${detail.parts.length === 0 && html`<p>None: the day has no events.</p>`}
${detail.parts.map(part)}
${sealedList('Late deliveries', detail.lateDeliveries)}
${sealedList('Exceptions', detail.exceptions)}</section>
<section class="card" aria-labelledby="manifest"><h2 id="manifest">Manifest ${manifest.number}</h2>
<p class="state">${sign('complete')} Its signature and its place in the chain hold. ${manifest.isRetired && 'Another key has signed since, so this one signs no more.'}</p>
<dl class="facts wide">
<div><dt>Key</dt><dd><code class="hash">${manifest.key}</code></dd></div>
<div><dt>Made</dt><dd>${time(manifest.createdAt)}</dd></div>
<div><dt>Signed by</dt><dd>${hash(manifest.signer)}</dd></div>
<div><dt>SHA-256</dt><dd>${hash(manifest.sha256)}</dd></div>
</dl></section>
<section class="card" aria-labelledby="history"><h2 id="history">History of its verdicts</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Table of its verdicts"><table><thead><tr><th scope="col">Manifest</th><th scope="col">Made</th><th scope="col">Verdict</th><th scope="col">List asked</th><th scope="col" class="r">Events</th><th scope="col" class="r">Recovered</th><th scope="col" class="r">Missing</th><th scope="col" class="r">New parts</th></tr></thead>
<tbody>${history.map((line) => html`<tr><th scope="row">${line.manifest}</th><td>${time(line.at)}</td><td>${badge(line.verdict)}</td><td>${time(line.listedAt)}</td><td class="r">${figure(line.events)}</td><td class="r">${figure(line.recovered)}</td><td class="r">${knownFigure(line.missing, line.listedAt !== null)}</td><td class="r">${figure(line.parts)}</td></tr>`)}</tbody></table></div></section>`,
  };
}

function equation({ left, right, holds, words }: Equation): Html {
  return html`<div class="equation${!holds && ' off'}"><p class="sum">${left.map(
    ({ name, count }, index) =>
      html`${index > 0 && html` <span class="operator">+</span> `}<span class="term"><b>${figure(count)}</b> ${name}</span>`,
  )} <span class="operator">${holds ? '=' : '≠'}</span> <span class="term"><b>${figure(right.count)}</b> ${right.name}</span></p>
<p>${sign(holds ? 'complete' : 'incomplete')} ${words}</p></div>`;
}

function lacking({ missing, generationFailures, holes }: DayDetail): Html {
  return html`<section class="notice bad" aria-labelledby="missing"><h2 id="missing">Holes and missing events</h2><ul>
${missing.slice(0, maxMissingShown).map((id) => html`<li><a href="/find?id=${encodeURIComponent(id)}"><code class="hash">${id}</code></a> is known and could not be had.</li>`)}
${missing.length > maxMissingShown && html`<li>${figure(missing.length - maxMissingShown)} more: see the JSON API, and the exceptions of the day.</li>`}
${generationFailures.map(({ notice, eventType, object }) => html`<li>Stripe says that it never generated ${eventType ?? 'an event'}${object !== null && html` of <code>${object}</code>`} (<code class="hash">${notice}</code>).</li>`)}
${holes.map((hole: HoleInWords) => html`<li>${hole.words}</li>`)}
</ul></section>`;
}

function part(object: PartDetail): Html {
  return html`<article class="card part"><h3><code class="hash">${object.key}</code></h3>
<dl class="facts">
<div><dt>Events</dt><dd>${figure(object.events)}</dd></div>
<div><dt>Size</dt><dd>${bytes(object.bytes.ciphertext)} <small>sealed, ${bytes(object.bytes.plaintext)} opened</small></dd></div>
<div><dt>First</dt><dd>${time(object.firstCreated)}</dd></div>
<div><dt>Last</dt><dd>${time(object.lastCreated)}</dd></div>
<div><dt>Manifest</dt><dd>${object.manifest}</dd></div>
</dl>
${hashes(object)}${pruned(object)}${link(object.link, 'the part')}
<h4>Ids</h4><p><code class="hash">${object.ids.key}</code></p><dl class="facts wide"><div><dt>SHA-256</dt><dd>${hash(object.ids.sha256)}</dd></div></dl>${link(object.ids.link, 'its ids')}
${object.deliveries !== null && html`<h4>Deliveries: ${figure(object.deliveries.lines)}</h4><p><code class="hash">${object.deliveries.key}</code></p>${hashes(object.deliveries)}${pruned(object.deliveries)}${link(object.deliveries.link, 'its deliveries')}`}
</article>`;
}

function sealedList(title: string, objects: readonly SealedObject[]): Html | false {
  if (objects.length === 0) return false;
  return html`<h3>${title}</h3>${objects.map(
    (object) => html`<article class="card part"><h4><code class="hash">${object.key}</code></h4>
<dl class="facts"><div><dt>Lines</dt><dd>${figure(object.lines)}</dd></div><div><dt>Manifest</dt><dd>${object.manifest}</dd></div></dl>
${hashes(object)}${pruned(object)}${link(object.link, 'the object')}</article>`,
  )}`;
}

function hashes({ sha256 }: SealedObject): Html {
  return html`<dl class="facts wide"><div><dt>SHA-256, as it lies there</dt><dd>${hash(sha256.ciphertext)}</dd></div><div><dt>SHA-256, opened</dt><dd>${hash(sha256.plaintext)}</dd></div></dl>`;
}

function pruned(object: SealedObject): Html | false {
  if (object.pruned === null) return false;
  return html`<p>Deleted by rule <code>${object.pruned.rule}</code>, as manifest ${object.pruned.manifest} says.</p>`;
}

function link(given: TimedLink | null, of: string): Html | false {
  if (given === null) return false;
  return html`<p><a class="button" href="${given.url}" rel="noreferrer">Download ${of}</a> <small>works for whoever has the link, until ${time(given.expiresAt)}</small></p>`;
}
