/**
 * Connections that have no request in hand: they have sent nothing yet, half of their headers, or wait for their next
 * request. Each costs memory, and anybody can open them. Where there are too many, the one that has been so for the
 * longest is cut: a sender that has something to send is not among these for long.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** With 16 KiB of headers each, 50 MB. */
export function boundIdleConnections(server: Server, maxConnections = 2048): void {
  /** The longest idle first. */
  const idle = new Set<Socket>();

  function add(socket: Socket): void {
    idle.add(socket);
    if (idle.size <= maxConnections) return;
    const [longest] = idle;
    idle.delete(longest!);
    longest!.destroy();
  }

  server.on('connection', (socket) => {
    socket.once('close', () => idle.delete(socket));
    add(socket);
  });
  server.on('request', ({ socket }, response) => {
    idle.delete(socket);
    response.once('close', () => {
      if (!socket.destroyed) add(socket);
    });
  });
}
