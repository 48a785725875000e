import { ask } from './ask.ts';

/** The text at a URL. Rejects as `ask` does, and where the answer is not 200. */
export async function getText(url: string, limits: { limitMs: number; maxBytes: number }): Promise<string> {
  const { status, body } = await ask(url, limits);
  if (status !== 200) throw new Error(`HTTP ${status}`);
  return body.toString('utf8');
}
