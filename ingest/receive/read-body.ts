/**
 * The raw body of a request, bounded twice: each by `maxBytes`, and all that are in memory at once by a budget. Only
 * bytes that arrived count, so a client that announces much and sends nothing holds nothing.
 */
import type { IncomingMessage } from 'node:http';
import { DaybookError } from '../../shared/errors.ts';

const noBytes = Buffer.alloc(0);

export interface BodyBudget {
  /** Whether the bytes fitted; if so they are held until given back. */
  take(bytes: number): boolean;
  giveBack(bytes: number): void;
}

export function openBodyBudget(maxBytes: number): BodyBudget {
  let held = 0;
  return {
    take(bytes) {
      if (held + bytes > maxBytes) return false;
      held += bytes;
      return true;
    },
    giveBack(bytes) {
      held -= bytes;
    },
  };
}

/**
 * Resolves with the whole body, whose length the caller gives back to the budget when it is done with it. Rejects with
 * `body_too_large`, `overloaded` or `request_aborted`; then the budget is as before, and what still arrives is let
 * past (see `discardRest`).
 */
export function readBody(request: IncomingMessage, maxBytes: number, budget: BodyBudget): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
    return Promise.reject(new DaybookError('body_too_large', { detail: `The limit is ${maxBytes} bytes.` }));
  }
  return new Promise((resolve, reject) => {
    let body: Buffer = noBytes;
    let bytes = 0;

    function onData(chunk: Buffer): void {
      if (bytes + chunk.length > maxBytes) {
        fail(new DaybookError('body_too_large', { detail: `The limit is ${maxBytes} bytes.` }));
      } else if (!budget.take(chunk.length)) {
        fail(new DaybookError('overloaded', { detail: 'Too many bodies are being received.' }));
      } else {
        body = appended(body, bytes, chunk);
        bytes += chunk.length;
      }
    }
    function onEnd(): void {
      stopListening();
      resolve(body.subarray(0, bytes));
    }
    function onGone(): void {
      fail(new DaybookError('request_aborted'));
    }
    function fail(error: DaybookError): void {
      stopListening();
      budget.giveBack(bytes);
      reject(error);
    }
    function stopListening(): void {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    }

    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

/**
 * A buffer with the first `bytes` bytes of `body` and then the chunk. Grows by doubling rather than keeping the chunks:
 * a sender that makes each byte a chunk of its own would cost a hundred times its bytes.
 */
function appended(body: Buffer, bytes: number, chunk: Buffer): Buffer {
  if (bytes === 0) return chunk;
  let roomy = body;
  if (bytes + chunk.length > body.length) {
    roomy = Buffer.allocUnsafeSlow(2 * (bytes + chunk.length));
    body.copy(roomy, 0, 0, bytes);
  }
  chunk.copy(roomy, bytes);
  return roomy;
}

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
