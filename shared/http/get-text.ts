import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { openAgents } from './agents.ts';

/**
 * The text at a URL, through the proxy of the environment where there is one. Rejects where the answer is not 200 (nothing is
 * followed), has more than `maxBytes`, or is not whole within `limitMs`.
 */
export async function getText(url: string, limits: { limitMs: number; maxBytes: number }): Promise<string> {
  const agents = openAgents(url);
  const isSecure = url.startsWith('https:');
  const options = {
    agent: isSecure ? agents.httpsAgent : agents.httpAgent,
    signal: AbortSignal.timeout(limits.limitMs),
  };
  try {
    return await new Promise((resolve, reject) => {
      const sent = (isSecure ? httpsRequest : httpRequest)(url, options, (response) => {
        if (response.statusCode !== 200) {
          sent.destroy(new Error(`HTTP ${response.statusCode}`));
          return;
        }
        let text = '';
        response.setEncoding('utf8').on('error', reject);
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > limits.maxBytes) sent.destroy(new Error(`more than ${limits.maxBytes} bytes`));
        });
        response.on('end', () => resolve(text));
      });
      sent.on('error', reject).end();
    });
  } finally {
    agents.httpAgent.destroy();
    agents.httpsAgent.destroy();
  }
}
