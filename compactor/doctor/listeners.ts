/** The ports of `serve`, and how it is known who holds them. */
import type { Configuration } from '../../shared/config.ts';
import { type ListenerToCheck, otherProgram } from '../../shared/doctor/check-listener.ts';
import { type Found, ok, warning } from '../../shared/doctor/finding.ts';
import { isLoopback } from '../gate/hosts.ts';

type Ports = 'COMPACTOR_HOST' | 'COMPACTOR_PORT' | 'COMPACTOR_ADMIN_HOST' | 'COMPACTOR_ADMIN_PORT';

/** Those whose settings are sound. */
export function listenersOf(settings: Partial<Configuration<Ports>>): ListenerToCheck[] {
  const { COMPACTOR_HOST: host, COMPACTOR_PORT: port } = settings;
  const { COMPACTOR_ADMIN_HOST: adminHost, COMPACTOR_ADMIN_PORT: adminPort } = settings;
  const listeners: ListenerToCheck[] = [];
  if (host !== undefined && port !== undefined) {
    listeners.push({
      setting: 'COMPACTOR_PORT',
      host,
      port,
      path: '/jobs',
      // Without the secret: refused in words that are its own.
      explain: (status, body) =>
        status === 403 && body.includes('job_secret_refused')
          ? ok('serve answers on its port')
          : otherProgram('COMPACTOR_PORT', port),
    });
  }
  if (adminHost !== undefined && adminPort !== undefined) {
    listeners.push({
      setting: 'COMPACTOR_ADMIN_PORT',
      host: adminHost,
      port: adminPort,
      path: '/metrics',
      explain: (status, body) =>
        status === 200 && body.includes('daybook_compactor_')
          ? ok('serve answers on its admin port')
          : otherProgram('COMPACTOR_ADMIN_PORT', adminPort),
    });
  }
  return listeners;
}

type Ways = 'COMPACTOR_CONSOLE_PASSWORD' | 'COMPACTOR_CONSOLE_READER_PASSWORD' | 'COMPACTOR_CONSOLE_USER_HEADER';

/** Whether anybody can see the pages. */
export function checkConsole(settings: Partial<Configuration<Ports | Ways>>): Found[] {
  const { COMPACTOR_HOST: host } = settings;
  const canLogIn =
    settings.COMPACTOR_CONSOLE_PASSWORD !== undefined ||
    settings.COMPACTOR_CONSOLE_READER_PASSWORD !== undefined ||
    settings.COMPACTOR_CONSOLE_USER_HEADER !== undefined;
  if (host === undefined || isLoopback(host) || canLogIn) return [];
  const hint =
    'Set COMPACTOR_CONSOLE_PASSWORD (`node compactor/main.ts hash-password` makes it), or COMPACTOR_HOST to 127.0.0.1. Jobs by request work as they are.';
  const said = `nobody gets into the console: COMPACTOR_HOST is ${host}, and nobody can log in`;
  return [warning(said, hint, 'console_closed')];
}
