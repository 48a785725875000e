/**
 * What the figures of ingest are held against, so that those of two machines can be compared: node:http alone, which reads a
 * body, checks its signature, parses it and answers. It stores nothing and says nothing.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const signature = /^t=(\d+),v1=([0-9a-f]{64})$/;
const answer = JSON.stringify({ received: true });

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    const [, seconds, hex] = signature.exec(`${request.headers['stripe-signature']}`)!;
    const expected = createHmac('sha256', process.env.PLAIN_SECRET!).update(`${seconds}.`).update(body).digest();
    JSON.parse(body.toString());
    const status = timingSafeEqual(expected, Buffer.from(hex!, 'hex')) ? 200 : 400;
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': answer.length }).end(answer);
  });
});
process.once('SIGTERM', () => process.exit());
server.listen(0, '127.0.0.1', () => {
  process.stderr.write(`${JSON.stringify({ msg: 'listening', port: (server.address() as AddressInfo).port })}\n`);
});
