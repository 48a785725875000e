/** What a request says of where it was sent to, and from where. */
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** The name or address in a Host header, in lower case, without its port and brackets; empty where it is none. */
export function hostOf(header: string | undefined): string {
  const found = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@\s]+))(?::\d{1,5})?$/i.exec(header ?? '');
  return (found?.[1] ?? found?.[2] ?? '').toLowerCase();
}

export function isAddress(host: string): boolean {
  return isIP(host) !== 0;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

const ofProxies = ['forwarded', 'via', 'x-real-ip', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'];

/** Whether it came straight from this machine: a proxy on it would pass on what others ask. */
export function isFromHere({ headers, socket }: IncomingMessage): boolean {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/i, '');
  return isLoopback(address) && isLoopback(hostOf(headers.host)) && ofProxies.every((name) => !(name in headers));
}

/** Whether a page of this very origin sent it, as far as the browser says where it comes from. */
export function isSameOrigin({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin';
  const { origin } = headers;
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === (headers.host ?? '').toLowerCase();
}
