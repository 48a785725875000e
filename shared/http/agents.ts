/**
 * Outgoing connections, through a forward proxy where the environment names one: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in
 * lower case too, read as Node itself reads them (nodejs.org/api/http.html, Built-in Proxy Support). These are the
 * machine's variables, not settings of ours.
 */
import type { Agent as HttpAgent } from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';
import { DaybookError } from '../errors.ts';
import { nodeHttp, nodeHttps } from './node-http.ts';

export interface Agents {
  readonly httpAgent: HttpAgent;
  readonly httpsAgent: HttpsAgent;
}

const maxSockets = 50;

/**
 * For one endpoint; undefined: AWS, by https. Plain http to this machine goes straight there: no proxy elsewhere could
 * reach it.
 * @throws DaybookError `configuration_invalid` where a proxy's URL is none that Node can use
 */
export function openAgents(endpoint: string | undefined): Agents {
  if (isLocal(endpoint)) return agentsOf({});
  for (const name of ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY']) {
    // Node takes no notice of proxies of another kind, and would connect directly. Not quoted: it may hold a password.
    if (/^(?:https?:\/\/[^/].*)?$/i.test(process.env[name] ?? '')) continue;
    throw new DaybookError('configuration_invalid', {
      detail: `${name}: must be an http:// or https:// URL of a proxy`,
    });
  }
  return agentsOf({ proxyEnv: process.env });
}

function agentsOf(proxied: { readonly proxyEnv?: NodeJS.ProcessEnv }): Agents {
  const options = { keepAlive: true, maxSockets, ...proxied };
  return { httpAgent: new (nodeHttp().Agent)(options), httpsAgent: new (nodeHttps().Agent)(options) };
}

function isLocal(endpoint: string | undefined): boolean {
  if (endpoint === undefined) return false;
  const { protocol, hostname } = new URL(endpoint);
  return protocol === 'http:' && /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}
