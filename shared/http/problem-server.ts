/**
 * An HTTP server whose every refusal is a problem document, also those that Node makes by itself before or instead of a
 * request: what is not HTTP, too large headers, headers or a body that do not come in time, an unknown expectation.
 */
import type { IncomingMessage, RequestListener, Server, ServerOptions, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { DaybookError, type ErrorCode } from '../errors.ts';
import { nodeHttp } from './node-http.ts';
import { type Answer, problemAnswer, send } from './problem.ts';

/** Told of each such refusal; of a request that was being handled its handler hears by itself. */
type Refused = (answer: Answer, reason: string) => void;

/** What is being answered on a connection. On the socket itself: a WeakMap costs each collection of garbage. */
const current = Symbol('current response');
type Connection = Duplex & { [current]?: ServerResponse };

export function createProblemServer(options: ServerOptions, listener: RequestListener, refused: Refused): Server {
  function handle(request: IncomingMessage, response: ServerResponse): void {
    (request.socket as Connection)[current] = response;
    const needsHost = request.httpVersion === '1.1';
    if (needsHost && request.headers.host === undefined) refuse(response, 'request_malformed', 'Host is missing.');
    else listener(request, response);
  }

  function refuse(response: ServerResponse, code: ErrorCode, detail?: string): void {
    const answer = answerOf(code, detail);
    send(response, answer, true);
    refused(answer, detail ?? code);
  }

  /** Where there is no request to answer: onto the connection itself, which is closed then. */
  function cut(socket: Duplex, code: ErrorCode, reason: string): void {
    const response = (socket as Connection)[current];
    if (response !== undefined && !response.writableFinished) {
      // What is wrong came after a request that is whole: that one's answer is not to be replaced.
      if (response.req.complete) {
        response.once('close', () => socket.destroy());
        return;
      }
      if (response.headersSent) {
        socket.destroy();
        return;
      }
    }
    if (socket.writable) {
      const answer = answerOf(code);
      socket.end(textOf(answer), () => socket.destroy());
      if (response === undefined || response.writableFinished) refused(answer, reason);
    } else socket.destroy();
  }

  const server = nodeHttp().createServer({ ...options, requireHostHeader: false }, handle);
  server.on('checkExpectation', (_request, response) => refuse(response, 'expectation_unknown'));
  server.on('connect', (_request, socket) => cut(socket, 'method_not_allowed', 'CONNECT'));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // Gone: nobody reads an answer.
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') socket.destroy();
    else cut(socket, codeOf(error), error.code ?? error.message);
  });
  return server;
}

function codeOf({ code }: NodeJS.ErrnoException): ErrorCode {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout';
  return code === 'HPE_HEADER_OVERFLOW' ? 'headers_too_large' : 'request_malformed';
}

function answerOf(code: ErrorCode, detail?: string): Answer {
  return problemAnswer(new DaybookError(code, detail === undefined ? {} : { detail }));
}

function textOf({ status, headers, body }: Answer): string {
  const lines = Object.entries({ ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' });
  const head = [
    `HTTP/1.1 ${status} ${nodeHttp().STATUS_CODES[status]}`,
    ...lines.map(([name, value]) => `${name}: ${value}`),
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}
