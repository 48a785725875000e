/** A Stripe source as the night asks for its missed events, and as Stripe delivers to it. */
import { checkClock } from '../../shared/doctor/check-clock.ts';
import { type Found, ok, problem, warning } from '../../shared/doctor/finding.ts';
import { DaybookError } from '../../shared/errors.ts';
import { secretKind, unquoted } from '../../shared/schemes/secret-kind.ts';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import type { StripeSource } from '../../shared/schemes/sources.ts';
import { isOrganisationKey } from '../../shared/schemes/stripe-scope.ts';
import { dataOf, textOf } from '../stripe/endpoints.ts';
import { openStripeQuestions, type Reply, type StripeQuestions } from './ask-stripe.ts';
import { checkEndpoints } from './check-endpoints.ts';

const maxAccounts = 25;
const keyRefused = new DaybookError('stripe_key_refused').code;
const accessRefused = new DaybookError('stripe_access_refused').code;
const keyHint =
  'Make a restricted key in the Dashboard (Developers, API keys) with read access to Events and Webhook Endpoints.';

export interface StripeSourceToCheck {
  readonly source: StripeSource;
  /** undefined where it has none. */
  readonly apiKey: string | undefined;
  readonly base: URL;
  /** Whether the ledger knows of thin events of this source. */
  readonly hasThinEvents: boolean;
}

/** Rejects with what keeps Stripe from answering at all. */
export async function checkStripe({ source, apiKey, base, hasThinEvents }: StripeSourceToCheck): Promise<Found[]> {
  if (apiKey === undefined) {
    const said = `${source.name} has no apiKey, so it cannot be reconciled: an event that is never delivered is never known of`;
    return [warning(said, keyHint)];
  }
  const looks = checkKey(source, apiKey);
  if (looks.some(({ status, code }) => status === 'problem' && code === keyRefused)) return looks;
  const questions = openStripeQuestions({ apiKey, base });
  const wantsThin = source.thinEvents === true || hasThinEvents;
  const members = isOrganisationKey(apiKey) && Array.isArray(source.accounts) ? source.accounts : [];
  try {
    const account = await questions.ask('/v1/account', members[0]);
    return [
      ...looks,
      ...checkAccount(account, isOrganisationKey(apiKey)),
      ...(await checkEvents(questions, source)),
      ...(wantsThin ? await checkThinEvents(questions, source) : []),
      ...(members.length === 0
        ? await checkEndpoints(questions, source, wantsThin)
        : await checkMembers(questions, source, members, wantsThin)),
    ];
  } catch (error) {
    if (!(error instanceof DaybookError)) throw error;
    if (error.code !== keyRefused) return [...looks, problem(error.message, error.hint, error.code)];
    const said = `Stripe does not know the key: ${error.message}`;
    return [...looks, problem(said, `It is mistyped, was rolled, or has expired. ${keyHint}`, error.code)];
  } finally {
    questions.close();
  }
}

/** The endpoints of each account of an organisation, as for that account's own key. */
async function checkMembers(
  questions: StripeQuestions,
  { accounts: _, ...source }: StripeSource,
  members: readonly string[],
  wantsThin: boolean,
): Promise<Found[]> {
  const found: Found[] = [];
  for (const member of members.slice(0, maxAccounts)) {
    const ofMember = { ...questions, ask: (path: string) => questions.ask(path, member) };
    for (const one of await checkEndpoints(ofMember, source, wantsThin, true)) {
      found.push({ ...one, message: `${member}: ${one.message}` });
    }
  }
  return found;
}

/** By its looks alone. What cannot be an API key is not shown to Stripe: its code is `stripe_key_refused`. */
function checkKey({ mode, accounts }: StripeSource, apiKey: string): Found[] {
  const name = `the apiKey (keyid ${keyidOf(apiKey)})`;
  if (apiKey !== unquoted(apiKey)) {
    return [problem(`${name} has white space or quotes around it`, 'Take them away.', keyRefused)];
  }
  const { kind, mode: keyMode } = secretKind(apiKey);
  const isOrganisation = isOrganisationKey(apiKey);
  if (isOrganisation && (accounts === undefined || accounts === 'all')) {
    const said = `${name} is an organisation's, which has to name an account with each request: \`accounts\` of the source names none`;
    const hint =
      'Name each account that sends to this source ("acct_…"; a connected account of one "acct_…/acct_…"). Stripe has no list of them, so "all" is not possible.';
    return [problem(said, hint, keyRefused)];
  }
  if (kind === 'other') return [warning(`${name} does not look like any of Stripe's API keys`, keyHint)];
  if (kind !== 'secret API key' && kind !== 'restricted API key' && !isOrganisation) {
    return [problem(`${name} is a ${kind}, no key that can ask for events`, keyHint, keyRefused)];
  }
  const found: Found[] = [];
  if (keyMode === undefined) return [ok(`${name} is a ${kind}`)];
  if (mode !== undefined && mode !== keyMode) {
    const said = `${name} is of ${keyMode} mode, the source of ${mode} mode: what is listed are other events than those delivered`;
    found.push(problem(said, `Give the source a key of ${mode} mode, or mend its \`mode\`.`));
  } else if (mode === undefined) {
    const said = `${name} is of ${keyMode} mode, the source takes live and test mode: those of the other are never listed`;
    found.push(warning(said, `Set its \`mode\` to "${keyMode}", and make a source of its own for the other mode.`));
  }
  if (kind !== 'secret API key') return [...found, ok(`${name} is a ${kind} of ${keyMode} mode`)];
  return [...found, warning(`${name} is a ${kind}, which may do anything`, `Daybook only reads. ${keyHint}`)];
}

function checkAccount(reply: Reply, isOrganisation: boolean): Found[] {
  // A restricted key need not be allowed to read it.
  if ('denied' in reply) return [ok('Stripe knows the key, which may not read its own account, and need not')];
  const id = textOf(reply.value.id);
  return [
    ok(id === undefined || isOrganisation ? 'Stripe knows the key' : `Stripe knows the key: it is of account ${id}`),
    ...checkClock(reply.dated, "Stripe's"),
  ];
}

/** Whether the lists can be had that a night asks for: those of the connected accounts, or the key's own. */
async function checkEvents(questions: StripeQuestions, { accounts = [] }: StripeSource): Promise<Found[]> {
  if (accounts !== 'all' && accounts.length === 0) {
    const reply = await questions.ask('/v1/events?limit=1');
    if ('denied' in reply) return [refusedList(reply, 'the list of events', 'Events')];
    const newest = dataOf(reply.value)[0]?.created;
    const when = typeof newest === 'number' ? new Date(newest * 1000).toISOString() : undefined;
    return [
      ok(
        when === undefined ? 'Stripe lists no event of the last 30 days' : `Stripe lists events, the newest of ${when}`,
      ),
    ];
  }
  let ids: readonly string[] = accounts === 'all' ? [] : accounts;
  let isMore = false;
  if (accounts === 'all') {
    const reply = await questions.ask('/v1/accounts?limit=100');
    if ('denied' in reply) return [refusedList(reply, 'the list of connected accounts', 'Connect accounts')];
    ids = dataOf(reply.value).flatMap(({ id }) => textOf(id) ?? []);
    isMore = reply.value.has_more === true;
    if (ids.length === 0) {
      const hint = "Leave `accounts` away where there are none: then the events of the key's own account are listed.";
      return [warning('Stripe names no connected account: nothing is listed', hint)];
    }
  }
  const refused: Found[] = [];
  for (const id of ids.slice(0, maxAccounts)) {
    const reply = await questions.ask('/v1/events?limit=1', id);
    if ('denied' in reply)
      refused.push(refusedList(reply, `the events of ${id}`, 'Events (that of a platform, to Connect as well)', id));
  }
  const asked = Math.min(ids.length, maxAccounts);
  const count = `${isMore ? 'more than ' : ''}${ids.length}`;
  const said = `Stripe lists the events of ${asked - refused.length} of ${count} accounts`;
  const rest = asked < ids.length || isMore ? `; ${asked} were asked for` : '';
  return [...refused, ok(`${said}${rest}`)];
}

function refusedList(
  reply: Extract<Reply, { denied: unknown }>,
  what: string,
  access: string,
  account?: string,
): Found {
  const lacking = reply.permission === undefined ? '' : ` (it lacks ${reply.permission})`;
  const give = `Give the key read access to ${access}.`;
  const hint =
    account === undefined || reply.permission !== undefined
      ? give
      : `See whether ${account} is (still) of this platform or organisation, else take it out of \`accounts\`. ${give}`;
  return problem(`Stripe refuses the key ${what}${lacking}: ${reply.denied.message}`, hint, accessRefused);
}

async function checkThinEvents(questions: StripeQuestions, { accounts = [] }: StripeSource): Promise<Found[]> {
  const account = accounts === 'all' ? undefined : accounts[0];
  const reply = await questions.ask('/v2/core/events?limit=1', account);
  if ('denied' in reply) return [refusedList(reply, 'the list of thin events', 'Events of API v2')];
  return [ok('Stripe lists thin events')];
}
