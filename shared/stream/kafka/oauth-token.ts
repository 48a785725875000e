/** Tokens of an OAuth server by the client credentials grant (RFC 6749, 4.4). */
import { DaybookError, messageOf } from '../../errors.ts';
import { ask } from '../../http/ask.ts';
import type { OauthBearer } from './settings.ts';

/** Where tokens come from. */
export interface Tokens {
  /** Rejects with `stream_credentials_refused`, or `stream_unavailable` where it may pass. */
  token(): Promise<string>;
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
  let kept: { readonly token: Promise<string>; untilMs: number } | undefined;

  async function newToken(): Promise<string> {
    // RFC 6749, 2.3.1: each is form-encoded first.
    const user = [clientId, clientSecret].map((part) => encodeURIComponent(part ?? '')).join(':');
    const form = new URLSearchParams({ grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) });
    const headers = {
      authorization: `Basic ${Buffer.from(user).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
      accept: 'application/json',
    };
    const question = { body: Buffer.from(String(form)), headers, limitMs, maxBytes: maxAnswerBytes };
    const { status, body } = await ask(tokenEndpoint!, question).catch((cause: unknown) => {
      if (cause instanceof DaybookError) throw cause;
      throw new DaybookError('stream_unavailable', {
        detail: `no token from ${tokenEndpoint}: ${messageOf(cause)}`,
        hint: 'See whether tokenEndpoint of DAYBOOK_STREAM answers from this machine.',
        retry: true,
        cause,
      });
    });
    const answer = membersOf(body.toString());
    if (status === 200 && typeof answer.access_token === 'string' && answer.access_token !== '') {
      const seconds = typeof answer.expires_in === 'number' ? answer.expires_in : unknownLifeSeconds;
      if (kept !== undefined) kept.untilMs = performance.now() + seconds * 1000 - marginMs;
      return answer.access_token;
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
        kept = { token: Promise.resolve().then(newToken), untilMs: performance.now() + limitMs };
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
