/** An HTTP proxy on 127.0.0.1, in front of a real server, that a test lets lie, lose answers or fall silent. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface ProxyRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface ProxyAnswer {
  readonly status: number;
  readonly headers?: IncomingHttpHeaders;
  readonly body?: string | Buffer;
}

/**
 * What the client gets: an answer, `reset` (the connection ends without one), `hang` (nothing, ever), or `cut` (the
 * headers and half of the body of what it would have got). `forward` takes the request to the server, with another body
 * if one is given: before it nothing happened there, after it all of it did.
 */
export type ProxyHandler = (
  request: ProxyRequest,
  forward: (body?: Buffer) => Promise<ProxyAnswer>,
) => Promise<ProxyAnswer | 'reset' | 'hang' | 'cut'>;

export interface HttpProxy {
  readonly endpoint: string;
  /** All requests so far. */
  readonly requests: ProxyRequest[];
  /** Replaces what decides; without one everything is passed on. */
  decide(handler?: ProxyHandler): void;
  close(): Promise<void>;
}

export async function startHttpProxy(target: string): Promise<HttpProxy> {
  const passOn: ProxyHandler = (_request, forward) => forward();
  const requests: ProxyRequest[] = [];
  let handler = passOn;
  const server = createServer(async (incoming, outgoing) => {
    const { method = 'GET', url: path = '/', headers } = incoming;
    const request = { method, path, headers, body: await buffer(incoming) };
    requests.push(request);
    let upstream: ProxyAnswer = { status: 200 };
    const forward = async (body: Buffer = request.body) => {
      upstream = await sendOn(target, { ...request, body });
      return upstream;
    };
    const answer = await handler(request, forward).catch((error: unknown) => {
      process.stderr.write(`proxy: ${String(error)}\n`);
      return 'reset' as const;
    });
    if (answer === 'hang') return;
    if (answer === 'reset') return outgoing.socket?.destroy();
    const { status, headers: told = {}, body = '' } = answer === 'cut' ? upstream : answer;
    const { 'transfer-encoding': _, ...kept } = told;
    const isForHead = method === 'HEAD';
    const length = isForHead ? {} : { 'content-length': Buffer.byteLength(body) };
    outgoing.writeHead(status, { ...kept, ...length });
    if (answer !== 'cut') return outgoing.end(isForHead ? undefined : body);
    outgoing.write(Buffer.from(body).subarray(0, Buffer.byteLength(body) / 2), () => outgoing.socket?.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    decide: (next = passOn) => {
      handler = next;
    },
    async close() {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}

async function sendOn(target: string, { method, path, headers, body }: ProxyRequest): Promise<ProxyAnswer> {
  const { hostname, port } = new URL(target);
  // The Host header stays the client's own, since it is signed.
  const { connection: _, ...kept } = headers;
  const length = body.byteLength > 0 ? { 'content-length': body.byteLength } : {};
  const outgoing = send({ hostname, port, method, path, headers: { ...kept, ...length }, agent: false });
  outgoing.end(body);
  // A server may answer before it has read the whole body, and then close.
  outgoing.on('error', () => undefined);
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: await buffer(incoming) };
}
