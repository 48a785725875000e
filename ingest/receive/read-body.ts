/**
 * The raw body of a request, bounded by `maxBytes`. All that are in memory at once are bounded twice: those that are not
 * whole yet (see unfinished-bodies.ts), and those that are whole and wait for the stream. Only bytes that arrived count,
 * so a client that announces much and sends nothing holds no more than its connection.
 */
import type { IncomingMessage } from 'node:http';
import { DaybookError } from '../../shared/errors.ts';
import { openUnfinishedBodies, type UnfinishedBodies, type UnfinishedBody } from './unfinished-bodies.ts';

export interface BodyBudget {
  readonly unfinished: UnfinishedBodies;
  /** Of a body that is whole: whether it fitted; if so its bytes are held until given back. */
  take(bytes: number): boolean;
  giveBack(bytes: number): void;
}

export interface BodyLimits {
  readonly maxBytes: number;
  readonly maxUnfinishedBytes: number;
}

export function openBodyBudget({ maxBytes, maxUnfinishedBytes }: BodyLimits): BodyBudget {
  let held = 0;
  return {
    unfinished: openUnfinishedBodies(maxUnfinishedBytes),
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
    const pieces = new Pieces();
    let unfinished: UnfinishedBody | undefined;

    function onData(chunk: Buffer): void {
      if (pieces.bytes + chunk.length > maxBytes) {
        fail(new DaybookError('body_too_large', { detail: `The limit is ${maxBytes} bytes.` }));
      } else {
        budget.unfinished.hold(unfinished!, pieces.add(chunk));
      }
    }
    function onEnd(): void {
      stopListening();
      if (budget.take(pieces.bytes)) resolve(pieces.join());
      else reject(overloaded('Too many bodies wait for the stream.'));
    }
    function onGone(): void {
      fail(new DaybookError('request_aborted'));
    }
    function onCut(): void {
      fail(overloaded('Too many bodies are being received, and this one was among the largest and slowest.'));
    }
    function fail(error: DaybookError): void {
      stopListening();
      pieces.clear();
      reject(error);
    }
    function stopListening(): void {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      // Not there yet where it is cut as it begins.
      if (unfinished !== undefined) budget.unfinished.end(unfinished);
    }

    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
    unfinished = budget.unfinished.begin(request.socket?.remoteAddress, headerBytesOf(request), onCut);
  });
}

function overloaded(detail: string): DaybookError {
  return new DaybookError('overloaded', { detail });
}

function headerBytesOf({ rawHeaders = [] }: IncomingMessage): number {
  let bytes = 0;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}

const pieceBytes = 8 * 1024;
const noBytes = Buffer.alloc(0);

/**
 * What came of a body. Node hands over copies of exactly what it read, which are kept as they are; small ones are joined
 * at once, since a sender that makes each byte a chunk of its own would cost a hundred times its bytes. Growing one
 * buffer instead would leave outgrown ones behind until they are collected.
 */
class Pieces {
  bytes = 0;
  private pieces: Buffer[] = [];
  /** The last piece, where it was made to be filled, and what is free in it. */
  private last = noBytes;
  private free = 0;

  /** Returns the memory that it takes beside what was taken before. */
  add(chunk: Buffer): number {
    this.bytes += chunk.length;
    if (this.pieces.length === 0 || chunk.length >= pieceBytes) {
      this.trim();
      this.pieces.push(chunk);
      return chunk.length;
    }
    const fitting = Math.min(this.free, chunk.length);
    chunk.copy(this.last, this.last.length - this.free, 0, fitting);
    this.free -= fitting;
    if (fitting === chunk.length) return 0;
    this.last = Buffer.allocUnsafeSlow(pieceBytes);
    this.free = pieceBytes - chunk.copy(this.last, 0, fitting);
    this.pieces.push(this.last);
    return pieceBytes;
  }

  join(): Buffer {
    this.trim();
    return this.pieces.length === 1 ? this.pieces[0]! : Buffer.concat(this.pieces, this.bytes);
  }

  clear(): void {
    this.pieces = [];
  }

  /** Nothing more goes into the last piece. */
  private trim(): void {
    if (this.free > 0) this.pieces[this.pieces.length - 1] = this.last.subarray(0, this.last.length - this.free);
    this.free = 0;
  }
}
