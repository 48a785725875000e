/** Tokens of an OAuth server by the client credentials grant (RFC 6749, 4.4). */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { DaybookError, messageOf } from '../../errors.ts';
import { openAgents } from '../../http/agents.ts';
import type { OauthBearer } from './settings.ts';

export interface Token {
  readonly value: string;
}

/** Where tokens come from. */
export interface Tokens {
  /** Rejects with `stream_credentials_refused`, or `stream_unavailable` where it may pass. */
  token(): Promise<Token>;
  /** The broker did not take the last one. */
  refused(): void;
}

const limitMs = 8_000;
const maxAnswerBytes = 64 * 1024;
/** A token is not used in its last moments, and where the server does not say how long it lives, not for long. */
const marginMs = 30_000;
const unknownLifeSeconds = 60;

/** Keeps a token until it nearly ends, or was refused. */
export function openTokenEndpoint({ tokenEndpoint, clientId, clientSecret, scope }: OauthBearer): Tokens {
  let kept: { readonly token: Promise<Token>; untilMs: number } | undefined;

  async function ask(): Promise<Token> {
    // RFC 6749, 2.3.1: each is form-encoded first.
    const user = [clientId, clientSecret].map((part) => encodeURIComponent(part ?? '')).join(':');
    const form = new URLSearchParams({ grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) });
    const { status, text } = await post(tokenEndpoint!, String(form), {
      authorization: `Basic ${Buffer.from(user).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
      accept: 'application/json',
    }).catch((cause: unknown) => {
      throw new DaybookError('stream_unavailable', {
        detail: `no token from ${tokenEndpoint}: ${messageOf(cause)}`,
        hint: 'See whether tokenEndpoint of DAYBOOK_STREAM answers from this machine.',
        retry: true,
        cause,
      });
    });
    const answer = membersOf(text);
    if (status === 200 && typeof answer.access_token === 'string' && answer.access_token !== '') {
      const seconds = typeof answer.expires_in === 'number' ? answer.expires_in : unknownLifeSeconds;
      if (kept !== undefined) kept.untilMs = performance.now() + seconds * 1000 - marginMs;
      return { value: answer.access_token };
    }
    const said = typeof answer.error === 'string' ? ` ${answer.error.slice(0, 100)}` : '';
    const isPassing = status >= 500 || status === 429;
    throw new DaybookError(isPassing ? 'stream_unavailable' : 'stream_credentials_refused', {
      detail: `${tokenEndpoint} gives no token: HTTP ${status}${said}`,
      hint: 'Compare tokenEndpoint, clientId, clientSecret and scope of sasl in DAYBOOK_STREAM with what the OAuth server knows.',
      retry: isPassing,
    });
  }

  return {
    async token() {
      if (kept === undefined || kept.untilMs < performance.now()) {
        kept = { token: Promise.resolve().then(ask), untilMs: performance.now() + limitMs };
        kept.token.catch(() => {
          kept = undefined;
        });
      }
      return kept.token;
    },
    refused() {
      kept = undefined;
    },
  };
}

function membersOf(text: string): { access_token?: unknown; expires_in?: unknown; error?: unknown } {
  try {
    return (JSON.parse(text) as object | null) ?? {};
  } catch {
    return {};
  }
}

function post(url: string, body: string, headers: Readonly<Record<string, string>>) {
  const agents = openAgents(url);
  const isSecure = url.startsWith('https:');
  const options = {
    method: 'POST',
    headers,
    agent: isSecure ? agents.httpsAgent : agents.httpAgent,
    signal: AbortSignal.timeout(limitMs),
  };
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const sent = (isSecure ? httpsRequest : httpRequest)(url, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('error', reject);
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > maxAnswerBytes) sent.destroy(new Error(`more than ${maxAnswerBytes} bytes`));
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on('error', reject).end(body);
  }).finally(() => {
    agents.httpAgent.destroy();
    agents.httpsAgent.destroy();
  });
}
