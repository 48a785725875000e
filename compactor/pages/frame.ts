/** What all pages have around them. */

import type { ArchiveState } from '../console/shapes.ts';
import type { Visitor } from '../gate/gate.ts';
import { time } from './format.ts';
import { type Html, html } from './html.ts';

export interface Page {
  readonly title: string;
  readonly body: Html;
  /** What the foot says of the archive; absent where the page shows nothing of it. */
  readonly archive?: ArchiveState;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Assets {
  readonly style: string;
  readonly script: string;
  readonly icon: string;
}

const sections = [
  ['/', 'Calendar'],
  ['/find', 'Find an event'],
  ['/now', 'Now'],
  ['/report', 'Report'],
  ['/manifests', 'Manifests'],
] as const;

/** Verdicts and standings differ by shape too: a third of those who look tell red from green badly, or print in grey. */
const signs = html`<svg class="signs" aria-hidden="true">
<symbol id="complete" viewBox="0 0 16 16"><path d="M2.5 8.5l3.5 3.5 7.5-8"/></symbol>
<symbol id="provisional" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6"/><path d="M8 4v4.2l2.8 1.8"/></symbol>
<symbol id="incomplete" viewBox="0 0 16 16"><path d="M3 3l10 10M13 3L3 13"/></symbol>
<symbol id="unverifiable" viewBox="0 0 16 16"><path d="M5 5.5a3 3 0 1 1 4.3 2.7C8.4 8.7 8 9.2 8 10.200M8 13v.6"/></symbol>
<symbol id="unreconciled" viewBox="0 0 16 16"><path d="M3 5.500h10M3 10.500h10M11 2L5 14"/></symbol>
<symbol id="late" viewBox="0 0 16 16"><path d="M8 2.500v7M8 12.800v.6"/></symbol>
<symbol id="open" viewBox="0 0 16 16"><circle cx="8" cy="8" r="3.5"/></symbol>
<symbol id="none" viewBox="0 0 16 16"></symbol>
</svg>`;

export function frame(page: Page, path: string, visitor: Visitor | undefined, assets: Assets): string {
  const current = path.startsWith('/days/') ? '/' : path;
  return String(html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${page.title} · daybook</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="${assets.icon}" type="image/svg+xml">
<link rel="stylesheet" href="${assets.style}">
<script src="${assets.script}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
${signs}
<header>
<a class="brand" href="/"><img src="${assets.icon}" alt="" width="24" height="24">daybook</a>
${
  visitor !== undefined &&
  html`<nav aria-label="Main"><ul>${sections.map(
    ([href, name]) => html`<li><a href="${href}"${href === current && html` aria-current="page"`}>${name}</a></li>`,
  )}</ul></nav>
<div class="visitor"><span>${visitor.name ?? (visitor.hasSession ? 'Logged in' : 'On this machine')}, ${visitor.role === 'acts' ? 'may act' : 'may read'}</span>
${visitor.hasSession && html`<form method="post" action="/logout">${tokenField(visitor)}<button>Log out</button></form>`}</div>`
}
</header>
<main id="main" tabindex="-1">
${page.archive !== undefined && trouble(page.archive)}
${page.body}
</main>
${page.archive !== undefined && foot(page.archive)}
</body>
</html>
`);
}

export function tokenField({ formToken }: { readonly formToken: string }): Html {
  return html`<input type="hidden" name="token" value="${formToken}">`;
}

/** Without it nothing on the page would say that it is old, or ends too early. */
function trouble({ trouble, head }: ArchiveState): Html | false {
  if (trouble === null) return false;
  return html`<div class="notice bad" role="alert"><p><strong>${trouble.message}</strong></p>
<p>What is shown ends at ${head === null ? 'nothing' : html`manifest ${head.number} of ${time(head.createdAt)}`}, or may be old. <code>${trouble.code}</code></p></div>`;
}

function foot({ location, prefix, head, readAt }: ArchiveState): Html {
  return html`<footer><dl>
<div><dt>Archive</dt><dd>${location}${prefix !== '' && html` · ${prefix}`}</dd></div>
<div><dt>Newest manifest</dt><dd>${head === null ? 'none' : html`${head.number}, ${time(head.createdAt)} <code class="hash">${head.sha256}</code>`}</dd></div>
<div><dt>Read</dt><dd>${time(readAt)}</dd></div>
</dl></footer>`;
}
