/**
 * Text to stderr, which never waits. Whoever reads stderr may have stopped reading without going away (a log driver that
 * hangs, a paused terminal): a write that waits for it would stop the whole program, its answers and its signals too. So
 * what is not taken at once waits in memory, in order, up to a bound. What comes beyond the bound is dropped and counted,
 * and once there is room again a line says how many were dropped.
 */
import { writeSync } from 'node:fs';

export interface StandardError {
  /** Takes whole lines, one or more, and returns at once. */
  write(text: string): void;
  /** Like `write`, but with what else comes in this turn of the event loop: one system call for the lines of many requests. */
  writeSoon(text: string): void;
  /** Since the start. A write counts as one line. */
  droppedLines(): number;
  /** What is said of lines that were dropped; a log sets it to a line of its own form. */
  sayDropped: (lines: number) => string;
  /** Writes what waits, as long as somebody takes it. */
  finish(): void;
}

export interface StandardErrorOptions {
  /** Takes some of the bytes and returns how many; throws EAGAIN where it would have to wait. */
  readonly take: (bytes: Uint8Array) => number;
  readonly maxWaitingBytes?: number;
  /** How often what waits is tried again. */
  readonly retryMs?: number;
  /** `finish` gives up when nothing was taken for so long. */
  readonly giveUpMs?: number;
}

/** What `writeSoon` lets wait. */
const soonBytes = 64 * 1024;

let opened: StandardError | undefined;

/** That of this process. */
export function standardError(): StandardError {
  if (opened === undefined) {
    const neverBlock = unblocking(process.stderr);
    neverBlock();
    opened = openStandardError({
      take(bytes) {
        neverBlock();
        return writeSync(2, bytes);
      },
    });
    // However the process ends by itself: by exit(), by an error that nobody caught, or with nothing left to do.
    process.once('exit', opened.finish);
  }
  return opened;
}

/** Of the process so far; opens nothing. */
export function droppedLines(): number {
  return opened?.droppedLines() ?? 0;
}

/**
 * Node makes pipes and sockets non-blocking when it opens them as a stream, and terminals blocking. A file has no handle,
 * and never makes anybody wait for a reader. Asked for again before each write (0.3 µs): all processes that share the
 * stderr of a shell or a script share this property, and each Node that starts a child with it, or ends, puts it back.
 */
function unblocking(stream: NodeJS.WriteStream): () => void {
  const { _handle: handle } = stream as unknown as { _handle?: { setBlocking?(isBlocking: boolean): number } };
  return () => handle?.setBlocking?.(false);
}

export function openStandardError({
  take,
  maxWaitingBytes = 1024 * 1024,
  retryMs = 20,
  giveUpMs = 500,
}: StandardErrorOptions): StandardError {
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let waitingLines = 0;
  let isSoon = false;
  let unsaid = 0;
  let droppedInAll = 0;
  let retry: NodeJS.Timeout | undefined;

  function write(text: string): void {
    put(text);
    if (retry === undefined) flush();
  }

  function writeSoon(text: string): void {
    put(text);
    if (retry !== undefined) return;
    // A turn may be long, and say much.
    if (waitingBytes > soonBytes) flush();
    if (isSoon || waitingBytes === 0) return;
    isSoon = true;
    // Ends before that: `finish` writes it.
    setImmediate(() => {
      isSoon = false;
      if (retry === undefined) flush();
    });
  }

  function put(text: string): void {
    // Said in its place: after what came before the gap, before what comes after it.
    if (unsaid > 0 && add(output.sayDropped(unsaid))) unsaid = 0;
    if (unsaid > 0 || !add(text)) drop(1);
  }

  function add(text: string): boolean {
    const bytes = Buffer.from(text);
    if (waitingBytes + bytes.length > maxWaitingBytes) return false;
    waiting.push(bytes);
    waitingBytes += bytes.length;
    waitingLines++;
    return true;
  }

  function drop(lines: number): void {
    unsaid += lines;
    droppedInAll += lines;
  }

  /** Writes until nothing waits or nothing more is taken. */
  function flush(): void {
    clearTimeout(retry);
    retry = undefined;
    while (waitingBytes > 0) {
      const bytes = waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting);
      waiting = [bytes];
      let taken: number;
      try {
        taken = take(bytes);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EAGAIN' || code === 'EINTR') {
          // Not kept alive by this: a program that is done ends, see `finish`.
          retry = setTimeout(flush, retryMs).unref();
          return;
        }
        // The reader is gone, or the disk is full: later lines are tried all the same.
        drop(waitingLines);
        empty();
        return;
      }
      waitingBytes -= taken;
      waiting[0] = bytes.subarray(taken);
    }
    empty();
  }

  function empty(): void {
    waiting = [];
    waitingBytes = 0;
    waitingLines = 0;
  }

  function finish(): void {
    if (unsaid > 0 && add(output.sayDropped(unsaid))) unsaid = 0;
    const pause = new Int32Array(new SharedArrayBuffer(4));
    let sinceMs = performance.now();
    for (let left = waitingBytes; ; left = waitingBytes) {
      flush();
      clearTimeout(retry);
      if (waitingBytes === 0) return;
      if (waitingBytes < left) sinceMs = performance.now();
      if (performance.now() - sinceMs >= giveUpMs) return;
      Atomics.wait(pause, 0, 0, Math.min(10, giveUpMs));
    }
  }

  const output: StandardError = {
    write,
    writeSoon,
    droppedLines: () => droppedInAll,
    sayDropped: (lines) => `${lines} lines were dropped, since nobody read them\n`,
    finish,
  };
  return output;
}
