/**
 * Connections that have no request in hand: they have sent nothing yet, half of their headers, or wait for their next
 * request. Each costs memory, and anybody can open them. Where there are too many, the one whose last request is the oldest
 * is cut: a sender that has something to send is not among these for long.
 */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** With 16 KiB of headers each, 50 MB. */
export function boundIdleConnections(server: Server, maxConnections = 2048): void {
  /** All connections with their last response; the longest without a new request first. */
  const connections = new Map<Socket, ServerResponse | undefined>();

  function makeRoom(): void {
    // Without a copy: where strangers hold as many as there may be, each sender that connects comes here.
    let surplus = -maxConnections;
    for (const response of connections.values()) if (isIdle(response)) surplus += 1;
    for (const [socket, response] of connections) {
      if (surplus <= 0) return;
      if (!isIdle(response)) continue;
      surplus -= 1;
      connections.delete(socket);
      socket.destroy();
    }
  }

  server.on('connection', (socket) => {
    socket.once('close', () => connections.delete(socket));
    connections.set(socket, undefined);
    if (connections.size > maxConnections) makeRoom();
  });
  server.on('request', ({ socket }, response) => {
    // Looked at only where there is no room: noticing the end of each answer would cost every request.
    connections.delete(socket);
    connections.set(socket, response);
  });
}

function isIdle(response: ServerResponse | undefined): boolean {
  return response === undefined || response.writableFinished;
}
