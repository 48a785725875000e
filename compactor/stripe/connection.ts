/**
 * The connection behind requests.ts: the request layer of the `stripe` package (authentication, headers, pinned version)
 * over sockets of our own, because the package (23.x)
 * - parses every answer, which loses 1.10, -0 and long integers: here the raw text comes out;
 * - repeats a closed connection once by itself, whatever `maxNetworkRetries` says: here the caller alone repeats;
 * - limits a silence, not the whole exchange: a byte now and then would keep a request alive for ever.
 *
 * The version that it pins goes out with each request, as the key of an organisation needs it.
 */
import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Stripe } from 'stripe';
import { messageOf } from '../../shared/errors.ts';
import { openAgents } from '../../shared/http/agents.ts';
import { nodeHttp, nodeHttps } from '../../shared/http/node-http.ts';
import { isOrganisationKey } from '../../shared/schemes/stripe-scope.ts';

export interface StripeAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body as sent; `undefined` where it is not UTF-8 or larger than 64 MiB. */
  readonly text: string | undefined;
}

export interface StripeRequests {
  /**
   * GET of a path with its query, for an account in the key's own place where one is given (`acct_…`, or the way to it). Rejects only where no whole
   * answer came; never with the key in the error.
   */
  get(path: string, account: string | undefined): Promise<StripeAnswer>;
  /** Ends every connection, also those in use. */
  close(): void;
}

export interface StripeConnection {
  readonly apiKey: string;
  readonly base: URL;
  /** Of a whole exchange. */
  readonly timeoutMs: number;
}

/** Far above any page of 100 events (50 KB have been seen of one), far below what would hurt. */
const maxAnswerBytes = 64 * 1024 * 1024;

export function connectStripe({ apiKey, base, timeoutMs }: StripeConnection): StripeRequests {
  const isSecure = base.protocol === 'https:';
  const { httpAgent, httpsAgent } = openAgents(base.href);
  const agent = isSecure ? httpsAgent : httpAgent;
  const { request } = isSecure ? nodeHttps() : nodeHttp();

  const httpClient: Stripe.HttpClient = {
    getClientName: () => 'node',
    makeRequest(host, port, path, method, headers, body, _protocol, timeout) {
      return new Promise((resolve, reject) => {
        const signal = AbortSignal.timeout(timeout);
        const options = { host, port, path, method, agent, signal, headers: { ...headers } as NodeJS.Dict<string> };
        const fail = (cause: unknown) => {
          const message = signal.aborted ? `no whole answer within ${timeout} ms` : messageOf(cause);
          reject(new Error(message, { cause })); // without a `code`, by which the package would know a closed connection
        };
        request(options, (response) => readWhole(response).then((answer) => resolve(new WholeAnswer(answer)), fail))
          .on('error', fail)
          .end(body);
      });
    },
  };
  const stripe = new Stripe(apiKey, {
    host: base.hostname.replace(/^\[|\]$/g, ''),
    port: base.port || (isSecure ? 443 : 80),
    protocol: isSecure ? 'https' : 'http',
    httpClient,
    timeout: timeoutMs,
    maxNetworkRetries: 0,
    telemetry: false,
  });

  return {
    async get(path, account) {
      // The v2 API and the keys of organisations know an account by its context alone; v1 has known Stripe-Account for longer.
      const isContext = path.startsWith('/v2/') || isOrganisationKey(apiKey) || account?.includes('/');
      const scope = isContext ? { stripeContext: account } : { stripeAccount: account };
      const options = account === undefined ? {} : scope;
      return (await stripe.rawRequest('GET', path, undefined, options)) as StripeAnswer;
    },
    close: () => agent.destroy(),
  };
}

/** What the package takes for a response: one whose "JSON" is the answer as it came, of whatever status. */
class WholeAnswer extends Stripe.HttpClientResponse {
  readonly #answer: StripeAnswer;

  constructor(answer: StripeAnswer) {
    super(answer.status, {}); // no headers: the package would print Stripe-Notice as a process warning
    this.#answer = answer;
  }

  override toJSON(): Promise<StripeAnswer> {
    return Promise.resolve(this.#answer);
  }

  override getRawResponse(): object {
    return {};
  }
}

async function readWhole(response: IncomingMessage): Promise<StripeAnswer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxAnswerBytes) break; // leaving the loop ends the connection
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const text = bytes <= maxAnswerBytes && isUtf8(body) ? body.toString('utf8') : undefined;
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}
