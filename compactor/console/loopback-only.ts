/** Who may read without a login: programs on this machine alone, where the listener is on loopback. */
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { DaybookError } from '../../shared/errors.ts';

/**
 * For a listener on this host. A foreign page may have let its own name point here, and a proxy may pass on what others ask: so
 * the Host header must name this machine as well. What it throws is `not_available`.
 */
export function admitsLoopback(host: string): (request: IncomingMessage) => void {
  const isHere = isLoopback(host);
  return ({ headers, socket }) => {
    const named = (headers.host ?? '')
      .toLowerCase()
      .replace(/:\d{1,5}$/, '')
      .replace(/^\[(.*)\]$/, '$1');
    const isProxied = 'x-forwarded-for' in headers || 'forwarded' in headers || 'via' in headers;
    if (isHere && !isProxied && isLoopback(named) && isLoopback(socket.remoteAddress ?? '')) return;
    throw new DaybookError('not_available', {
      detail: 'The console answers programs of this machine alone, where COMPACTOR_HOST is a loopback address.',
      hint: 'Ask it there, by 127.0.0.1 or localhost.',
    });
  };
}

function isLoopback(host: string): boolean {
  const address = host.replace(/^::ffff:/i, '');
  return address === 'localhost' || address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));
}
