/** How a request says who sends it. Any object of this shape will do; the three that ingest knows are here. */

export interface Attempt {
  readonly url: URL;
  /** The same at each attempt. Of letters and digits. */
  readonly id: string;
  readonly body: string;
  readonly nowMs: number;
}

export interface Auth {
  /** The headers of one attempt. Asked at each one. A rejection is a failed attempt: there will be another. */
  sign(attempt: Attempt): Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>;
  /** True: a request brings one event, and no array. */
  readonly alone?: boolean;
  /** `include` sends the cookies of the server's site from pages of other origins too. */
  readonly credentials?: 'include';
}

/**
 * panda-hmac, for servers: the date and the path are signed, the body is not. `service`: the source's name. Never in a page,
 * whose readers would have the secret.
 */
export function panda({ secret, service }: { readonly secret: string; readonly service?: string }): Auth {
  const hmac = hmacOf(new TextEncoder().encode(secret));
  return {
    async sign({ url, nowMs }) {
      const date = new Date(nowMs).toUTCString();
      return {
        'x-gu-tools-hmac-date': date,
        'x-gu-tools-hmac-token': `HMAC ${await hmac(`${date}\n${url.pathname}`)}`,
        ...(service === undefined ? {} : { 'x-gu-tools-service-name': service }),
      };
    },
  };
}

/**
 * Standard Webhooks, for servers: the body is signed. `secret`: base64, with or without `whsec_` before it; throws where it
 * is neither. A request brings one event.
 */
export function standardWebhooks({ secret }: { readonly secret: string }): Auth {
  const hmac = hmacOf(Uint8Array.from(atob(secret.replace(/^whsec_/, '')), (char) => char.charCodeAt(0)));
  return {
    alone: true,
    async sign({ id, body, nowMs }) {
      const timestamp = String(Math.floor(nowMs / 1000));
      return {
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${await hmac(`${id}.${timestamp}.${body}`)}`,
      };
    },
  };
}

/** For pages: the browser sends the cookie that the reader logged in with. */
export function cookie(): Auth {
  return { credentials: 'include', sign: () => ({}) };
}

/** HMAC-SHA256 of a text, in base64. */
function hmacOf(secret: Uint8Array<ArrayBuffer>): (text: string) => Promise<string> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  return async (text) => {
    const key = await crypto.subtle.importKey('raw', secret, algorithm, false, ['sign']);
    const mac = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(text));
    return btoa(String.fromCharCode(...new Uint8Array(mac)));
  };
}
