import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { openAgents } from './agents.ts';

/**
 * Posts a text to a URL, through the proxy of the environment where there is one. Resolves to the status of the answer, of
 * which nothing else is read and nothing followed. Rejects where none comes within `limitMs`, and when `signal` says so.
 */
export async function postText(
  url: string,
  headers: Readonly<Record<string, string>>,
  text: string,
  { limitMs, signal }: { limitMs: number; signal: AbortSignal },
): Promise<number> {
  const agents = openAgents(url);
  const isSecure = url.startsWith('https:');
  const options = {
    method: 'POST',
    agent: isSecure ? agents.httpsAgent : agents.httpAgent,
    headers: { ...headers, 'content-length': String(Buffer.byteLength(text)) },
    signal: AbortSignal.any([signal, AbortSignal.timeout(limitMs)]),
  };
  try {
    return await new Promise((resolve, reject) => {
      const sent = (isSecure ? httpsRequest : httpRequest)(url, options, (response) => {
        response.on('error', () => {});
        resolve(response.statusCode!);
        sent.destroy();
      });
      sent.on('error', reject).end(text);
    });
  } finally {
    agents.httpAgent.destroy();
    agents.httpsAgent.destroy();
  }
}
