/**
 * Who may see the pages and the API, and who may act. One of three ways, by the settings:
 * - a password: a session by cookie;
 * - a header of an authenticating proxy, believed from the configured addresses alone;
 * - neither: whoever is on this machine, where the listener is bound to loopback.
 * A host name that is not the console's is refused, since a foreign page may have let its own name point here.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Request } from 'express';
import type { Clock } from '../../shared/clock.ts';
import { isPassword, type PasswordHash } from '../../shared/crypto/password-hash.ts';
import { DaybookError } from '../../shared/errors.ts';
import { Problem } from '../../shared/http/problem.ts';
import { hostOf, isAddress, isFromHere, isLoopback, isSameOrigin } from './hosts.ts';
import { openLoginPace } from './login-pace.ts';
import { newId, openSessions, type Role } from './sessions.ts';

export interface GateOptions {
  /** Of those who read and act, and of those who read alone. */
  readonly password?: PasswordHash | undefined;
  readonly readerPassword?: PasswordHash | undefined;
  /** In which a proxy names who asks; in lower case. */
  readonly userHeader?: string | undefined;
  /** Which of those may act. */
  readonly actors: readonly string[];
  readonly isTrustedProxy: (address: string | undefined) => boolean;
  /** Names under which browsers ask, beside those of this machine, and addresses. */
  readonly hosts: readonly string[];
  /** Whether the listener can be reached from this machine alone. */
  readonly isOnLoopback: () => boolean;
  readonly clock: Clock;
}

export interface Visitor {
  readonly role: Role;
  /** As the proxy names them; undefined where there is none. */
  readonly name: string | undefined;
  /** To be sent with each form. */
  readonly formToken: string;
  /** Whether there is a session to end. */
  readonly hasSession: boolean;
}

export interface Gate {
  /** Undefined: has to log in first. @throws DaybookError `console_closed`, `host_unknown` */
  visitorOf(request: Request): Visitor | undefined;
  /** What the login page needs: the token of its form, and a cookie to set that the token belongs to. */
  beginLogin(request: Request): { readonly formToken: string; readonly cookie: string };
  /**
   * The cookie of a new session.
   * @throws DaybookError `login_refused`, `login_too_often`, `form_refused`
   */
  login(request: Request, form: { readonly password: string; readonly formToken: string }): Promise<string>;
  /** The cookie that ends it. */
  logout(request: Request): string;
  /** @throws DaybookError `form_refused` where no page of ours sent the form */
  checkForm(request: Request, visitor: Visitor, formToken: string): void;
}

/** Logins that wait for their hash: each takes memory and a thread for a while. */
const maxWaiting = 8;
/** Of a name in a header. */
const maxNameCharacters = 200;

export function openGate(options: GateOptions): Gate {
  const { password, readerPassword, userHeader, actors, isTrustedProxy, hosts, isOnLoopback, clock } = options;
  const hasPassword = password !== undefined || readerPassword !== undefined;
  const sessions = openSessions(clock);
  const pace = openLoginPace(clock);
  const tokenKey = randomBytes(32);
  let hashing: Promise<unknown> = Promise.resolve();
  let waiting = 0;

  const tokenOf = (of: string) => createHmac('sha256', tokenKey).update(of).digest('base64url');

  function visitorOf(request: Request): Visitor | undefined {
    const isOpen = hasPassword || userHeader !== undefined;
    if (!isOpen) {
      if (!isOnLoopback() || !isFromHere(request)) throw new DaybookError('console_closed');
      return { role: 'acts', name: undefined, formToken: tokenOf('here'), hasSession: false };
    }
    checkHost(request);
    const name = nameOf(request);
    if (name !== undefined) {
      const role = actors.includes(name) ? 'acts' : 'reads';
      return { role, name, formToken: tokenOf(`name ${name}`), hasSession: false };
    }
    const id = cookieOf(request);
    const role = id === undefined ? undefined : sessions.roleOf(id);
    if (role !== undefined) return { role, name: undefined, formToken: tokenOf(`session ${id}`), hasSession: true };
    if (!hasPassword) throw new DaybookError('console_closed', { detail: `The proxy names nobody in ${userHeader}.` });
    return undefined;
  }

  /** By its address nobody is led here who did not mean to be. */
  function checkHost({ headers }: Request): void {
    const host = hostOf(headers.host);
    if (isLoopback(host) || isAddress(host) || hosts.includes(host)) return;
    throw new DaybookError('host_unknown');
  }

  function nameOf({ headers, socket }: Request): string | undefined {
    if (userHeader === undefined || !isTrustedProxy(socket.remoteAddress)) return undefined;
    const name = headers[userHeader];
    // Node joins several by a comma: then somebody before the proxy has sent one too.
    if (typeof name !== 'string' || name.includes(',') || name.length > maxNameCharacters) return undefined;
    return name.trim() === '' ? undefined : name.trim();
  }

  function beginLogin(request: Request): { formToken: string; cookie: string } {
    const given = cookieOf(request);
    const id = given === undefined || sessions.roleOf(given) !== undefined ? newId() : given;
    return { formToken: tokenOf(`login ${id}`), cookie: cookie(request, id) };
  }

  async function login(request: Request, form: { password: string; formToken: string }): Promise<string> {
    if (!hasPassword) throw new DaybookError('console_closed');
    checkHost(request);
    const before = cookieOf(request);
    if (!isSameOrigin(request) || before === undefined || !isSame(form.formToken, tokenOf(`login ${before}`))) {
      throw new DaybookError('form_refused');
    }
    const address = request.ip ?? '';
    const waitMs = waiting >= maxWaiting ? 1000 : pace.begin(address);
    if (waitMs > 0) {
      const seconds = Math.ceil(waitMs / 1000);
      throw new Problem('login_too_often', { retryAfterSeconds: seconds }, { detail: `Try again in ${seconds} s.` });
    }
    const role = await inTurn(() => roleBy(form.password));
    if (role === undefined) throw new DaybookError('login_refused');
    pace.succeeded(address);
    return cookie(request, sessions.begin(role));
  }

  /** One after the other: not all memory and threads for those who guess. */
  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    waiting += 1;
    const mine = hashing.then(work);
    hashing = mine.catch(() => undefined);
    try {
      return await mine;
    } finally {
      waiting -= 1;
    }
  }

  /** Looks at both, whichever is right. */
  async function roleBy(given: string): Promise<Role | undefined> {
    const acts = password !== undefined && (await isPassword(given, password));
    const reads = readerPassword !== undefined && (await isPassword(given, readerPassword));
    return acts ? 'acts' : reads ? 'reads' : undefined;
  }

  function checkForm(request: Request, visitor: Visitor, formToken: string): void {
    if (!isSameOrigin(request) || !isSame(formToken, visitor.formToken)) throw new DaybookError('form_refused');
  }

  function logout(request: Request): string {
    const id = cookieOf(request);
    if (id !== undefined) sessions.end(id);
    return `${cookie(request, '')}; Max-Age=0`;
  }

  return { visitorOf, beginLogin, login, logout, checkForm };
}

/** The prefix binds a cookie to the host and to TLS; without TLS browsers take none that has it. */
const nameOfCookie = ({ secure }: Request) => (secure ? '__Host-daybook' : 'daybook');

function cookie(request: Request, value: string): string {
  const secure = request.secure ? '; Secure' : '';
  return `${nameOfCookie(request)}=${value}; Path=/; HttpOnly; SameSite=Strict${secure}`;
}

function cookieOf(request: Request): string | undefined {
  const name = `${nameOfCookie(request)}=`;
  const pairs = (request.headers.cookie ?? '').split(/;\s*/);
  const value = pairs.find((pair) => pair.startsWith(name))?.slice(name.length);
  return value !== undefined && /^[\w-]{43}$/.test(value) ? value : undefined;
}

function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
