/**
 * Sorting more than fits in memory: entries collect in memory, spill as sorted runs to the staging folder, and are
 * merged when read. All sorters of one budget share its bytes; the fullest one spills when they are used up.
 *
 * Order: by key, then by payload, both as bytes. A key is text; it is compared by its UTF-8 bytes, which is the order of
 * code points. Nothing is dropped: equal entries all come out.
 *
 * A run on disk: per entry u32 key bytes, u32 payload bytes (little endian), key, payload.
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface SortedEntry {
  /** The key's UTF-8 bytes, one character a byte: compare it with `sortKey(text)`. */
  readonly key: string;
  /** Valid until the next entry is asked for. */
  readonly payload: Buffer;
}

export interface Sorter {
  readonly entries: number;
  /** Copies the payload, given in pieces. `key` comes from `sortKey`. */
  add(key: string, pieces: readonly Uint8Array[]): void;
  /** All entries in order. May be asked for again; more may be added between passes, not during one. */
  sorted(): Generator<SortedEntry, void, void>;
  /** Removes what lies on disk. */
  close(): void;
}

export interface SortBudget {
  sorter(): Sorter;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is its own UTF-8
const ascii = /^[\x00-\x7f]*$/;

/** A text as a string whose order is that of its UTF-8 bytes. */
export function sortKey(text: string): string {
  return ascii.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

/** The text that a sort key was made of. */
export function keyText(key: string): string {
  return ascii.test(key) ? key : Buffer.from(key, 'latin1').toString('utf8');
}

const none = Buffer.alloc(0);
const chunkBytes = 1024 * 1024;
const writeBytes = 256 * 1024;
const readBytes = 64 * 1024;
const maxRunsMerged = 256;
/** What an entry costs beside its bytes: three small fields and a string header. */
const entryOverheadBytes = 120;

interface Held {
  readonly key: string;
  readonly chunk: Buffer;
  readonly from: number;
  readonly to: number;
}

export function openSortBudget(options: { directory: string; maxBytes: number }): SortBudget {
  const spillers: { spillableBytes(): number; spill(): void }[] = [];
  const spareChunks: Buffer[] = [];
  const maxSpareChunks = options.maxBytes / chunkBytes;
  let totalBytes = 0;
  let runs = 0;

  function sorter(): Sorter {
    let held: Held[] = [];
    let usedBytes = 0;
    let readers = 0;
    let chunks: Buffer[] = [];
    let chunk: Buffer = none;
    let free = 0;
    let entries = 0;
    /** Runs by level: a full level is merged into one run of the next, so no merge opens more than `maxRunsMerged`. */
    const levels: string[][] = [];

    const self = { spillableBytes: () => (readers > 0 ? 0 : usedBytes), spill };
    spillers.push(self);

    function add(key: string, pieces: readonly Uint8Array[]): void {
      let bytes = 0;
      for (const piece of pieces) bytes += piece.byteLength;
      if (bytes > chunk.length - free) {
        chunk = takeChunk(bytes);
        chunks.push(chunk);
        free = 0;
        grow(chunk.length);
      }
      const from = free;
      for (const piece of pieces) {
        chunk.set(piece, free);
        free += piece.byteLength;
      }
      held.push({ key, chunk, from, to: free });
      entries += 1;
      grow(key.length + entryOverheadBytes);
      if (totalBytes > options.maxBytes) relieve();
    }

    function spill(): void {
      if (held.length === 0) return;
      held.sort(compareHeld);
      pushRun(0, writeRun(nextPath(), fromMemory(held)));
      release();
    }

    function grow(bytes: number): void {
      usedBytes += bytes;
      totalBytes += bytes;
    }

    function release(): void {
      grow(-usedBytes);
      for (const used of chunks)
        if (used.length === chunkBytes && spareChunks.length < maxSpareChunks) spareChunks.push(used);
      chunks = [];
      held = [];
      chunk = none;
      free = 0;
    }

    function pushRun(level: number, path: string): void {
      levels[level] ??= [];
      const runsHere = levels[level];
      runsHere.push(path);
      if (runsHere.length < maxRunsMerged) return;
      const merged = writeRun(nextPath(), merge(runsHere.map(readRun)));
      for (const run of runsHere.splice(0)) unlinkSync(run);
      pushRun(level + 1, merged);
    }

    function* sorted(): Generator<SortedEntry, void, void> {
      // Others want the memory while this pass goes on; what stays is in use and cannot be spilled.
      if (usedBytes > options.maxBytes / 4) spill();
      readers += 1;
      try {
        held.sort(compareHeld);
        yield* merge([...levels.flat().map(readRun), fromMemory(held)]);
      } finally {
        readers -= 1;
      }
    }

    function close(): void {
      for (const run of levels.splice(0).flat()) unlinkSync(run);
      release();
      spillers.splice(spillers.indexOf(self), 1);
    }

    return {
      get entries() {
        return entries;
      },
      add,
      sorted,
      close,
    };
  }

  function relieve(): void {
    const fullest = spillers.reduce((a, b) => (b.spillableBytes() > a.spillableBytes() ? b : a));
    if (fullest.spillableBytes() > 0) fullest.spill();
  }

  /** Chunks are used again: memory that is dropped and taken again at every spill would be held twice over. */
  function takeChunk(bytes: number): Buffer {
    const spare = bytes <= chunkBytes ? spareChunks.pop() : undefined;
    return spare ?? Buffer.allocUnsafeSlow(Math.max(chunkBytes, bytes));
  }

  function nextPath(): string {
    runs += 1;
    return join(options.directory, `run-${runs}`);
  }

  return { sorter };
}

function compareHeld(a: Held, b: Held): number {
  if (a.key < b.key) return -1;
  if (a.key > b.key) return 1;
  return a.chunk.compare(b.chunk, b.from, b.to, a.from, a.to);
}

function* fromMemory(held: readonly Held[]): Generator<SortedEntry, void, void> {
  for (const { key, chunk, from, to } of held) yield { key, payload: chunk.subarray(from, to) };
}

function writeRun(path: string, entries: Iterable<SortedEntry>): string {
  const file = openSync(path, 'wx', 0o600);
  try {
    const buffer = Buffer.allocUnsafeSlow(writeBytes);
    let filled = 0;
    const flush = () => {
      writeWhole(file, buffer.subarray(0, filled));
      filled = 0;
    };
    for (const { key, payload } of entries) {
      if (filled + 8 + key.length > writeBytes) flush();
      buffer.writeUInt32LE(key.length, filled);
      buffer.writeUInt32LE(payload.length, filled + 4);
      filled += 8 + buffer.write(key, filled + 8, 'latin1');
      if (filled + payload.length > writeBytes) flush();
      if (payload.length > writeBytes) writeWhole(file, payload);
      else filled += payload.copy(buffer, filled);
    }
    flush();
  } finally {
    closeSync(file);
  }
  return path;
}

function writeWhole(file: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
}

function* readRun(path: string): Generator<SortedEntry, void, void> {
  const file = openSync(path, 'r');
  try {
    let buffer = Buffer.allocUnsafeSlow(readBytes);
    let from = 0;
    let to = 0;
    const need = (bytes: number): boolean => {
      if (to - from >= bytes) return true;
      const kept = buffer.subarray(from, to);
      if (bytes > buffer.length) buffer = Buffer.concat([kept], bytes);
      else buffer.copyWithin(0, from, to);
      to -= from;
      from = 0;
      while (to < bytes) {
        const read = readSync(file, buffer, to, buffer.length - to, null);
        if (read === 0) return false;
        to += read;
      }
      return true;
    };
    while (need(8)) {
      const keyBytes = buffer.readUInt32LE(from);
      const payloadBytes = buffer.readUInt32LE(from + 4);
      if (!need(8 + keyBytes + payloadBytes)) throw new Error('a sorted run in the staging folder is cut short');
      const key = buffer.toString('latin1', from + 8, from + 8 + keyBytes);
      const payload = buffer.subarray(from + 8 + keyBytes, from + 8 + keyBytes + payloadBytes);
      from += 8 + keyBytes + payloadBytes;
      yield { key, payload };
    }
  } finally {
    closeSync(file);
  }
}

/** Merges sorted inputs with a binary heap of their next entries. */
function* merge(inputs: Iterator<SortedEntry, void, void>[]): Generator<SortedEntry, void, void> {
  const heap: { entry: SortedEntry; input: Iterator<SortedEntry, void, void> }[] = [];
  const less = (a: number, b: number) => compareEntries(heap[a]!.entry, heap[b]!.entry) < 0;
  const swap = (a: number, b: number) => {
    const one = heap[a]!;
    heap[a] = heap[b]!;
    heap[b] = one;
  };
  const sink = () => {
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < heap.length && less(child, least)) least = child;
      if (least === at) return;
      swap(at, least);
      at = least;
    }
  };
  try {
    for (const input of inputs) {
      const first = input.next();
      if (first.done === true) continue;
      heap.push({ entry: first.value, input });
      for (let at = heap.length - 1; at > 0 && less(at, (at - 1) >> 1); at = (at - 1) >> 1) swap(at, (at - 1) >> 1);
    }
    for (let top = heap[0]; top !== undefined; top = heap[0]) {
      yield top.entry;
      const following = top.input.next();
      if (following.done === true) {
        const last = heap.pop()!;
        if (last !== top) heap[0] = last;
      } else top.entry = following.value;
      sink();
    }
  } finally {
    for (const input of inputs) input.return?.();
  }
}

function compareEntries(a: SortedEntry, b: SortedEntry): number {
  if (a.key < b.key) return -1;
  if (a.key > b.key) return 1;
  return a.payload.compare(b.payload);
}
