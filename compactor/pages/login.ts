/** Logging in, and what is said where a page is refused. */
import { type Page, tokenField } from './frame.ts';
import { html } from './html.ts';

/** As problem+json has it. */
export interface Refusal {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly hint: string;
  readonly code: string;
}

export function loginPage(form: { readonly formToken: string; readonly next: string }, refusal?: Refusal): Page {
  return {
    title: 'Log in',
    ...(refusal !== undefined && { status: refusal.status }),
    body: html`<form class="login card" method="post" action="/login?next=${encodeURIComponent(form.next)}">
<h1>Log in</h1>
${refusal !== undefined && html`<p class="notice bad" role="alert" id="why">${refusal.title}. ${refusal.detail === refusal.title ? refusal.hint : refusal.detail}</p>`}
${tokenField(form)}
<label for="password">Password</label>
<input id="password" type="password" name="password" autocomplete="current-password" required autofocus${refusal !== undefined && html` aria-describedby="why" aria-invalid="true"`}>
<button class="main">Log in</button>
</form>`,
  };
}

export function refusalPage({ status, title, detail, hint, code }: Refusal): Page {
  return {
    title,
    status,
    body: html`<h1>${title}</h1>
<div class="notice bad"><p>${detail !== title && html`${detail} `}${hint}</p><p><code>${code}</code></p></div>
<p><a href="/">Back to the calendar</a></p>`,
  };
}

/** A path of this console; the calendar's where it is anything else. */
export function safeNext(next: string | null): string {
  const base = 'http://here.invalid';
  if (next === null || !next.startsWith('/') || !URL.canParse(next, base)) return '/';
  const { origin, pathname, search } = new URL(next, base);
  return origin === base && !pathname.startsWith('//') ? `${pathname}${search}` : '/';
}
