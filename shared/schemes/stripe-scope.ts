/**
 * Which of Stripe's lists an event has to be in: of which account, and of which mode. A day is `complete` only where the
 * lists that were asked cover what was delivered.
 *
 * The account of an event is told by `account` (events of connected accounts), `user_id` (the same in API versions before
 * 2017-05-25) or `context` (organisations, Connect since 2025-04-30, thin events: the way to the account, itself the last).
 * An event that names none is of the account that the key belongs to.
 */

export type Mode = 'live' | 'test';

export interface EventScope {
  readonly accounts: readonly string[];
  readonly mode: Mode | undefined;
}

/** What the delivered events of a day need to be listed. */
export interface NeededScope {
  readonly accounts: readonly string[];
  /** An event was delivered that names no account. Not there in older manifests. */
  readonly ownAccount?: boolean;
  /** Of delivered events. Not there in older manifests. */
  readonly modes?: readonly Mode[];
}

/** What can be asked for a source's missed events. */
export interface AskedScope {
  /** Connected accounts; none where the key's own account is listed. */
  readonly accounts: readonly string[];
  /** Whether the key's own account is listed: `accounts` takes its place. */
  readonly ownAccount: boolean;
  /** The mode of the key; null while nothing has told it. */
  readonly mode: Mode | null;
}

export interface ScopeClaims {
  readonly account?: unknown;
  readonly user_id?: unknown;
  readonly context?: unknown;
  readonly livemode?: unknown;
}

const maxNameCharacters = 255;

export function scopeOfEvent({ account, user_id, context, livemode }: ScopeClaims): EventScope {
  const mode = typeof livemode === 'boolean' ? modeOf(livemode) : undefined;
  if (account === undefined && user_id === undefined && context === undefined) return { accounts: [], mode };
  const accounts = [account, user_id, accountOfContext(context)]
    .filter((name) => typeof name === 'string' && name !== '')
    .map((name) => (name as string).slice(0, maxNameCharacters));
  return { accounts: [...new Set(accounts)], mode };
}

export function modeOf(livemode: boolean): Mode {
  return livemode ? 'live' : 'test';
}

/** The mode that a key says of itself: `sk_live_…`, `rk_test_…`, `sk_org_test_…`. */
export function modeOfKey(apiKey: string): Mode | undefined {
  return /^[a-z]+_(?:org_)?(live|test)_/.exec(apiKey)?.[1] as Mode | undefined;
}

/** A key of several accounts: each request has to name one of them (docs.stripe.com/keys/organization-api-keys). */
export function isOrganisationKey(apiKey: string): boolean {
  return apiKey.startsWith('sk_org_');
}

/** Whether the lists hold all that was delivered. */
export function isCovered(needed: NeededScope, asked: AskedScope): boolean {
  return notCovered(needed, asked).length === 0;
}

/** Of what was delivered that which no list holds, in words: accounts first. What is not known is not covered. */
export function notCovered({ accounts, ownAccount = false, modes = [] }: NeededScope, asked: AskedScope): string[] {
  const others =
    asked.mode === null
      ? modes.length > 1
        ? ['one of two modes']
        : []
      : modes.filter((mode) => mode !== asked.mode).map((mode) => `${mode} mode`);
  return [
    ...accounts.filter((account) => !asked.accounts.includes(account)),
    ...(ownAccount && !asked.ownAccount ? ['events that name no account'] : []),
    ...others,
  ];
}

/** A context of another form than the known one names an account that no list is asked for. */
export function accountOfContext<T>(context: T): T | string {
  const last = typeof context === 'string' ? context.split('/').at(-1) : undefined;
  return last !== undefined && /^acct_\w{1,250}$/.test(last) ? last : context;
}
