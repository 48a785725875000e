/** The pages, and what they load. Each begins at the gate. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Request } from 'express';
import { type Clock, dayOf } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { Answer } from '../../shared/http/problem.ts';
import { type Route, type RouteNotes, read } from '../../shared/http/route-requests.ts';
import type { ConsoleData } from '../console/console-data.ts';
import { archivesQuery, calendarQuery, dayQuery, eventQuery, parametersOf, reportQuery } from '../console/queries.ts';
import type { Gate, Visitor } from '../gate/gate.ts';
import { readSmallBody } from '../gate/read-small-body.ts';
import { calendarPage } from './calendar.ts';
import { dayPage } from './day.ts';
import { findPage } from './find.ts';
import { monthAfter } from './format.ts';
import { type Assets, frame, type Page } from './frame.ts';
import { type JobBoard, jobsSection } from './jobs.ts';
import { loginPage, type Refusal, refusalPage, safeNext } from './login.ts';
import { manifestsPage } from './manifests.ts';
import { nowPage } from './now.ts';
import { reportPage } from './report.ts';

export interface PagesOptions {
  readonly data: ConsoleData;
  readonly gate: Gate;
  readonly jobs: JobBoard;
  /** Names of the configured sources, to choose from. */
  readonly sources: readonly string[];
  readonly clock: Clock;
}

/** On each answer: nothing of others is loaded, framed or kept; no page of others gets at it. */
const guardedHeaders: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // Not no-referrer: a form would then say Origin: null.
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

const formType = new Set(['application/x-www-form-urlencoded']);

export interface Pages {
  readonly routes: readonly Route<RouteNotes>[];
  /** Of a path that is not there: a page for browsers. */
  refusedUnknown(request: Request, problem: Answer): Answer;
}

export function openPages({ data, gate, jobs, sources, clock }: PagesOptions): Pages {
  const files = [
    asset('pages.css', 'text/css'),
    asset('pages.js', 'text/javascript'),
    asset('icon.svg', 'image/svg+xml'),
  ];
  const [style, script, icon] = files.map(({ path }) => path) as [string, string, string];
  const assets: Assets = { style, script, icon };

  function show(request: Request, page: Page, visitor: Visitor | undefined): Answer {
    const { pathname } = urlOf(request);
    return {
      status: page.status ?? 200,
      headers: { 'content-type': 'text/html; charset=utf-8', ...guardedHeaders, ...page.headers },
      body: frame(page, pathname, visitor, assets),
    };
  }

  /** Refusals are pages too; who has to log in is led there. */
  function refused(request: Request, problem: Answer): Answer {
    const { code, headers } = problem;
    if (code === 'login_needed')
      return seeOther(`/login?next=${encodeURIComponent(request.method === 'GET' ? request.url : '/')}`);
    const refusal: Refusal = JSON.parse(problem.body);
    const retry = headers?.['retry-after'];
    const allow = headers?.allow;
    const page = refusalPage(refusal);
    const more = { ...(retry !== undefined && { 'retry-after': retry }), ...(allow !== undefined && { allow }) };
    return {
      ...show(request, { ...page, headers: more }, visitorOrNobody(request)),
      ...(code !== undefined && { code }),
    };
  }

  function visitorOrNobody(request: Request): Visitor | undefined {
    try {
      return gate.visitorOf(request);
    } catch {
      return undefined;
    }
  }

  function page(path: string, make: (request: Request, visitor: Visitor) => Promise<Page>): Route<RouteNotes> {
    return {
      path,
      methods: read,
      refused,
      async answer(request) {
        const visitor = needVisitor(gate, request);
        return show(request, await make(request, visitor), visitor);
      },
    };
  }

  function start(job: 'run' | 'verify' | 'prune', bodyOf: (form: URLSearchParams) => unknown): Route<RouteNotes> {
    return {
      path: `/now/${job}`,
      methods: ['POST'],
      refused,
      async answer(request) {
        const visitor = needVisitor(gate, request);
        const form = await readForm(request);
        gate.checkForm(request, visitor, form.get('token') ?? '');
        if (visitor.role !== 'acts') throw new DaybookError('role_refused');
        jobs.start(job, bodyOf(form));
        return seeOther('/now');
      },
    };
  }

  const thisMonth = () => dayOf(clock.now()).slice(0, 7);

  const routes: readonly Route<RouteNotes>[] = [
    page('/', async ({ url }) => {
      const { month = thisMonth() } = calendarQuery(parametersOf(url, ['month']));
      const calendar = await data.calendar({ month });
      return calendarPage(calendar, await data.calendar({ month: monthAfter(month, -1) }));
    }),
    page('/days/:source/:day', async ({ params }) => {
      const { source, day } = dayQuery(params.source as string, params.day as string);
      return dayPage(await data.day(source, day));
    }),
    page('/find', async ({ url }) => {
      const { id = '', ...where } = parametersOf(url, ['id', 'source', 'before']);
      const found = id === '' ? undefined : await data.event(eventQuery(id.trim(), where));
      return findPage(id, sources, where.source ?? '', found);
    }),
    page('/now', async (_, visitor) => nowPage(await data.now(), jobs, visitor)),
    page('/report', async ({ url }) => {
      const { month = thisMonth(), source = '' } = parametersOf(url, ['month', 'source']);
      return reportPage(await data.report(reportQuery({ month, ...(source !== '' && { source }) })), {
        month,
        source,
        sources,
      });
    }),
    page('/manifests', async ({ url }) =>
      manifestsPage(await data.archives(archivesQuery(parametersOf(url, ['before'])))),
    ),
    {
      path: '/now/jobs',
      methods: read,
      refused,
      answer(request) {
        needVisitor(gate, request);
        const headers = { 'content-type': 'text/html; charset=utf-8', ...guardedHeaders };
        return { status: 200, headers, body: String(jobsSection(jobs)) };
      },
    },
    start('run', (form) => {
      const day = form.get('day') ?? '';
      return { ...(day !== '' && { days: [day] }), ...(form.get('force') === 'yes' && { force: true }) };
    }),
    start('verify', (form) => (form.get('strict') === 'yes' ? { strict: true } : {})),
    // What deletes is left to who has a shell, or the secret of the jobs.
    start('prune', () => ({})),
    {
      path: '/login',
      methods: [...read, 'POST'],
      refused(request, problem) {
        const isOfForm = ['login_refused', 'login_too_often', 'form_refused'].includes(problem.code ?? '');
        if (!isOfForm || request.method !== 'POST') return refused(request, problem);
        const { formToken, cookie } = gate.beginLogin(request);
        const answer = show(
          request,
          loginPage({ formToken, next: nextOf(request) }, JSON.parse(problem.body)),
          undefined,
        );
        const retry = problem.headers?.['retry-after'];
        const more = { 'set-cookie': cookie, ...(retry !== undefined && { 'retry-after': retry }) };
        return { ...answer, headers: { ...answer.headers, ...more }, code: problem.code! };
      },
      async answer(request, notes) {
        if (request.method === 'POST') {
          if (request.ip !== undefined) notes.address = request.ip;
          const form = await readForm(request);
          const given = { password: form.get('password') ?? '', formToken: form.get('token') ?? '' };
          const cookie = await gate.login(request, given);
          const answer = seeOther(nextOf(request));
          return { ...answer, headers: { ...answer.headers, 'set-cookie': cookie } };
        }
        const next = nextOf(request);
        if (gate.visitorOf(request) !== undefined) return seeOther(next);
        const { formToken, cookie } = gate.beginLogin(request);
        const answer = show(request, loginPage({ formToken, next }), undefined);
        return { ...answer, headers: { ...answer.headers, 'set-cookie': cookie } };
      },
    },
    {
      path: '/logout',
      methods: ['POST'],
      refused,
      async answer(request) {
        const visitor = needVisitor(gate, request);
        gate.checkForm(request, visitor, (await readForm(request)).get('token') ?? '');
        const answer = seeOther('/login');
        return { ...answer, headers: { ...answer.headers, 'set-cookie': gate.logout(request) } };
      },
    },
    ...files.map(({ path, headers, body }) => ({
      path,
      methods: read,
      answer: () => ({ status: 200, headers, body }),
    })),
  ];
  return {
    routes,
    refusedUnknown: (request, problem) =>
      (request.headers.accept ?? '').includes('text/html') ? refused(request, problem) : problem,
  };
}

function needVisitor(gate: Gate, request: Request): Visitor {
  const visitor = gate.visitorOf(request);
  if (visitor === undefined) throw new DaybookError('login_needed');
  return visitor;
}

function seeOther(location: string): Answer {
  return { status: 303, headers: { location, ...guardedHeaders }, body: '' };
}

function urlOf({ url }: Request): URL {
  return new URL(url, 'http://here.invalid');
}

const nextOf = (request: Request) => safeNext(urlOf(request).searchParams.get('next'));

async function readForm(request: Request): Promise<URLSearchParams> {
  return new URLSearchParams(await readSmallBody(request, formType, 'Fill in less.'));
}

/** Named after its content: a browser may keep it for ever. */
function asset(name: string, type: string): { path: string; headers: Record<string, string>; body: string } {
  const body = readFileSync(new URL(name, import.meta.url), 'utf8');
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16);
  const { 'cache-control': _, ...guarded } = guardedHeaders;
  const headers = {
    'content-type': `${type}; charset=utf-8`,
    'cache-control': 'public, max-age=31536000, immutable',
    ...guarded,
  };
  return { path: `/assets/${hash}-${name}`, headers, body };
}
