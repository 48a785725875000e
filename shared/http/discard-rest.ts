import type { IncomingMessage } from 'node:http';

/** Of a refused body; then the connection is cut. */
const maxDiscardedBytes = 16 * 1024 * 1024;

/**
 * Lets the rest of a refused body past without keeping it, so that the sender gets to read its answer: closing at once
 * would reset the connection under it.
 */
export function discardRest(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let bytes = 0;
  request.on('error', () => {});
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxDiscardedBytes) request.destroy();
  });
}
