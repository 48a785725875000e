/** A server that sends to /events with the HMAC headers of panda-hmac, for the demo. */
import { createHmac } from 'node:crypto';

/** Posts a body signed for its path and date. Rejects if nobody answers. */
export async function sendPanda(options: {
  readonly url: URL;
  readonly body: string;
  readonly secret: string;
  readonly date: Date;
  readonly service?: string;
}): Promise<{ readonly status: number; readonly body: string }> {
  const { url, body, secret, date, service } = options;
  const signedDate = date.toUTCString();
  const token = createHmac('sha256', secret).update(`${signedDate}\n${url.pathname}`).digest('base64');
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'x-gu-tools-hmac-date': signedDate,
    'x-gu-tools-hmac-token': `HMAC ${token}`,
  };
  if (service !== undefined) headers['x-gu-tools-service-name'] = service;
  const response = await fetch(url, { method: 'POST', headers, body });
  return { status: response.status, body: await response.text() };
}
