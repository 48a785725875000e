import type { IncomingHttpHeaders } from 'node:http';
import { type Agents, openAgents } from './agents.ts';
import { nodeHttp, nodeHttps } from './node-http.ts';

export interface Question {
  /** GET, unless there is a body: then POST. */
  readonly body?: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Until the answer is whole. */
  readonly limitMs: number;
  /** Of the answer's body; 0: none of it is read. */
  readonly maxBytes: number;
  /** Gives up. */
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * One request, through the proxy of the environment where there is one. Nothing is followed. Rejects where the answer has
 * more than `maxBytes`, or is not whole within `limitMs`. `kept`: connections that the caller closes; else one of its own.
 */
export async function ask(
  url: string,
  { body, headers = {}, limitMs, maxBytes, signal }: Question,
  kept?: Agents,
): Promise<Answer> {
  const agents = kept ?? openAgents(url);
  const isSecure = url.startsWith('https:');
  const options = {
    method: body === undefined ? 'GET' : 'POST',
    headers: { ...headers, ...(body && { 'content-length': body.byteLength }) },
    agent: isSecure ? agents.httpsAgent : agents.httpAgent,
    signal: AbortSignal.any([AbortSignal.timeout(limitMs), ...(signal === undefined ? [] : [signal])]),
  };
  try {
    return await new Promise((resolve, reject) => {
      const sent = (isSecure ? nodeHttps() : nodeHttp()).request(url, options, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('error', reject);
        if (maxBytes === 0) {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.alloc(0) });
          sent.destroy();
          return;
        }
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          bytes += chunk.length;
          if (bytes > maxBytes) sent.destroy(new Error(`more than ${maxBytes} bytes`));
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      });
      sent.on('error', reject).end(body);
    });
  } finally {
    if (kept === undefined) {
      agents.httpAgent.destroy();
      agents.httpsAgent.destroy();
    }
  }
}
