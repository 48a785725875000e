/** The manifests, the newest first: what each night and each prune wrote down. */
import type { Archives } from '../console/shapes.ts';
import { bytes, figure, hash, sign, time } from './format.ts';
import type { Page } from './frame.ts';
import { html } from './html.ts';

export function manifestsPage({ archive, manifests, next }: Archives): Page {
  return {
    title: 'Manifests',
    archive,
    body: html`<h1>Manifests</h1>
<p>${sign('complete')} Each is signed and names the one before it: signature and chain hold of all that are shown.</p>
${manifests.length === 0 && html`<p class="card">None yet. The first night writes the first one.</p>`}
<div class="card"><div class="scroll" tabindex="0" role="region" aria-label="Manifests"><table><thead><tr><th scope="col" class="r">Number</th><th scope="col">Made</th><th scope="col">By</th><th scope="col" class="r">Days</th><th scope="col" class="r">Events</th><th scope="col" class="r">Objects</th><th scope="col" class="r">Size</th><th scope="col" class="r">Pruned</th><th scope="col">Signed by</th><th scope="col">SHA-256</th></tr></thead>
<tbody>${manifests.map(
      (line) =>
        html`<tr><th scope="row" class="r">${line.number}</th><td>${time(line.createdAt)}</td><td>${line.by}</td><td class="r">${figure(line.days)}</td><td class="r">${figure(line.events)}</td><td class="r">${figure(line.objects)}</td><td class="r">${bytes(line.objectBytes)}</td><td class="r">${figure(line.pruned)}</td><td>${hash(line.signer)}</td><td>${hash(line.sha256)}</td></tr>`,
    )}</tbody></table></div></div>
${next !== null && html`<p><a class="button" href="/manifests?before=${next}">Older</a></p>`}`,
  };
}
