/** What the settings say of who gets in. */
import { addressList } from '../../shared/address-list.ts';
import { type Configuration, refuseProblems } from '../../shared/config.ts';
import type { GateOptions } from './gate.ts';

export type GateSettings = Configuration<
  | 'COMPACTOR_CONSOLE_PASSWORD'
  | 'COMPACTOR_CONSOLE_READER_PASSWORD'
  | 'COMPACTOR_CONSOLE_USER_HEADER'
  | 'COMPACTOR_CONSOLE_ACTORS'
  | 'COMPACTOR_CONSOLE_HOSTS'
  | 'COMPACTOR_TRUSTED_PROXIES'
>;

/** @throws DaybookError `configuration_invalid` where they contradict each other */
export function gateOptionsOf(settings: GateSettings): Omit<GateOptions, 'isOnLoopback' | 'clock'> {
  const { COMPACTOR_CONSOLE_USER_HEADER: userHeader, COMPACTOR_CONSOLE_ACTORS: actors = [] } = settings;
  const { COMPACTOR_TRUSTED_PROXIES: proxies } = settings;
  refuseProblems([
    ...(userHeader !== undefined && proxies === undefined
      ? ['COMPACTOR_TRUSTED_PROXIES: is required with COMPACTOR_CONSOLE_USER_HEADER: else whoever sends it is believed']
      : []),
    ...(actors.length > 0 && userHeader === undefined
      ? ['COMPACTOR_CONSOLE_ACTORS: says nothing without COMPACTOR_CONSOLE_USER_HEADER']
      : []),
  ]);
  return {
    password: settings.COMPACTOR_CONSOLE_PASSWORD,
    readerPassword: settings.COMPACTOR_CONSOLE_READER_PASSWORD,
    userHeader,
    actors,
    isTrustedProxy: addressList(proxies ?? []),
    hosts: settings.COMPACTOR_CONSOLE_HOSTS ?? [],
  };
}
