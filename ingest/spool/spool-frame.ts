/**
 * A frame: how anything lies in the spool file, so that it can be told from everything else and checked without SQLite.
 *
 *   bytes   0–7  the file's marker: 8 random bytes, which are also in its name
 *             8  kind: 1 record · 2 dead, a record among the dead letters · 3 raw, a damaged frame among them · 4 reason · 5 state
 *         10–11  which piece of its content this is, from 0     12–13  how many pieces there are
 *         16–23  sequence, a float64: the row of piece 0; piece n is in the row n after it
 *         24–31  when it was written, ms since the epoch, a float64
 *         32–35  bytes of the key, which begins the content     36–39  bytes of this frame's data
 *         40–43  CRC-32 of the whole content                    44–47  CRC-32 of this frame's data
 *         48–51  CRC-32 of bytes 0–47
 *          52–…  data: the piece of the content, `contentBytes` of it, the last piece less
 *
 * Numbers are big-endian. A record's content is its key in UTF-8, then its value. Invariants:
 * - a frame fits into one page of the file together with what SQLite adds, so it is never spread over overflow pages: its
 *   bytes lie in one run, and a scan for the marker finds it whatever has become of the pages around it;
 * - a sender cannot write a frame into its event: it does not know the marker.
 */
import { crc32 } from 'node:zlib';
import type { AppendRecord } from '../../shared/stream/stream.ts';

export const frameKinds = { record: 1, dead: 2, raw: 3, reason: 4, state: 5 } as const;
export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

export const markerBytes = 8;
export const headerBytes = 52;
/** Of one frame of a record; a frame of kind raw holds a whole frame of another. */
const contentBytes = 16_000;
/** The most that SQLite keeps of one row in a page of 16 KiB is 16,349 bytes (https://sqlite.org/fileformat2.html). */
export const maxFrameBytes = contentBytes + 2 * headerBytes;

export interface FrameHeader {
  readonly kind: FrameKind;
  readonly piece: number;
  readonly pieces: number;
  readonly sequence: number;
  readonly writtenMs: number;
  readonly keyBytes: number;
  readonly dataBytes: number;
  readonly contentCrc: number;
  readonly dataCrc: number;
}

export type WriteFrame = (row: number, frame: Uint8Array) => void;

export interface FrameWriter {
  /** Writes a record's frames and answers their number. What `write` is given is valid during its call alone. */
  record(kind: 1 | 2, sequence: number, writtenMs: number, record: AppendRecord, write: WriteFrame): number;
  /** Wraps the bytes of one damaged frame. */
  raw(sequence: number, writtenMs: number, piece: number, pieces: number, bytes: Uint8Array): Uint8Array;
  /** One frame of less than `contentBytes`. */
  single(kind: FrameKind, sequence: number, writtenMs: number, data: Uint8Array): Uint8Array;
}

/** Bytes and number of the frames of a record, without writing them. */
export function frameSizeOf({ key, value }: AppendRecord): { bytes: number; pieces: number } {
  const content = Buffer.byteLength(key) + value.byteLength;
  const pieces = Math.max(1, Math.ceil(content / contentBytes));
  return { bytes: content + pieces * headerBytes, pieces };
}

export function openFrameWriter(marker: Buffer): FrameWriter {
  const scratch = Buffer.alloc(maxFrameBytes);
  marker.copy(scratch);

  /** The frame around data that lies in the scratch already. */
  function close(header: Omit<FrameHeader, 'dataCrc' | 'contentCrc'>, contentCrc?: number): Buffer {
    const end = headerBytes + header.dataBytes;
    const dataCrc = crc32(scratch.subarray(headerBytes, end));
    scratch[8] = header.kind;
    scratch.writeUInt16BE(header.piece, 10);
    scratch.writeUInt16BE(header.pieces, 12);
    scratch.writeDoubleBE(header.sequence, 16);
    scratch.writeDoubleBE(header.writtenMs, 24);
    scratch.writeUInt32BE(header.keyBytes, 32);
    scratch.writeUInt32BE(header.dataBytes, 36);
    scratch.writeUInt32BE(contentCrc ?? dataCrc, 40);
    scratch.writeUInt32BE(dataCrc, 44);
    scratch.writeUInt32BE(crc32(scratch.subarray(0, 48)), 48);
    return scratch.subarray(0, end);
  }

  function wrap(header: Omit<FrameHeader, 'dataCrc' | 'contentCrc' | 'dataBytes' | 'keyBytes'>, data: Uint8Array) {
    scratch.set(data, headerBytes);
    return Buffer.from(close({ ...header, keyBytes: 0, dataBytes: data.byteLength }));
  }

  return {
    record(kind, sequence, writtenMs, { key, value }, write) {
      // A UTF-16 unit becomes three bytes at most.
      if (key.length * 3 + value.byteLength <= contentBytes) {
        const keyBytes = scratch.write(key, headerBytes);
        scratch.set(value, headerBytes + keyBytes);
        const dataBytes = keyBytes + value.byteLength;
        write(sequence, close({ kind, piece: 0, pieces: 1, sequence, writtenMs, keyBytes, dataBytes }));
        return 1;
      }
      const keyBytes = Buffer.byteLength(key);
      const content = Buffer.concat([Buffer.from(key), value]);
      const contentCrc = crc32(content);
      const pieces = Math.max(1, Math.ceil(content.length / contentBytes));
      for (let piece = 0; piece < pieces; piece++) {
        const data = content.subarray(piece * contentBytes, (piece + 1) * contentBytes);
        data.copy(scratch, headerBytes);
        const header = { kind, piece, pieces, sequence, writtenMs, keyBytes, dataBytes: data.length };
        write(sequence + piece, close(header, contentCrc));
      }
      return pieces;
    },
    raw: (sequence, writtenMs, piece, pieces, bytes) =>
      wrap({ kind: frameKinds.raw, piece, pieces, sequence, writtenMs }, bytes),
    single: (kind, sequence, writtenMs, data) => wrap({ kind, piece: 0, pieces: 1, sequence, writtenMs }, data),
  };
}

/** The header of the frame that these bytes begin with; undefined where its own checksum does not hold. */
export function readHeader(bytes: Buffer, marker: Buffer): FrameHeader | undefined {
  if (bytes.length < headerBytes || bytes.compare(marker, 0, markerBytes, 0, markerBytes) !== 0) return undefined;
  if (crc32(bytes.subarray(0, 48)) !== bytes.readUInt32BE(48)) return undefined;
  return {
    kind: bytes[8] as FrameKind,
    piece: bytes.readUInt16BE(10),
    pieces: bytes.readUInt16BE(12),
    sequence: bytes.readDoubleBE(16),
    writtenMs: bytes.readDoubleBE(24),
    keyBytes: bytes.readUInt32BE(32),
    dataBytes: bytes.readUInt32BE(36),
    contentCrc: bytes.readUInt32BE(40),
    dataCrc: bytes.readUInt32BE(44),
  };
}

/** The data of a frame that begins these bytes; undefined where it is cut off or its checksum does not hold. */
export function readData(bytes: Buffer, header: FrameHeader): Buffer | undefined {
  const data = bytes.subarray(headerBytes, headerBytes + header.dataBytes);
  return data.length === header.dataBytes && crc32(data) === header.dataCrc ? data : undefined;
}

export interface Content {
  readonly kind: FrameKind;
  readonly writtenMs: number;
  readonly key: string;
  readonly value: Buffer;
}

/** What the only frame of a sequence holds; undefined where it is damaged. */
export function contentOf(frame: Buffer, header: FrameHeader): Content | undefined {
  const data = readData(frame, header);
  return data === undefined ? undefined : splitContent(header, data);
}

function splitContent({ kind, writtenMs, keyBytes }: FrameHeader, content: Buffer): Content {
  return { kind, writtenMs, key: content.toString('utf8', 0, keyBytes), value: content.subarray(keyBytes) };
}

/** What the frames of one sequence hold together, in the order of their pieces; undefined unless all of it is whole. */
export function joinFrames(frames: readonly Buffer[], marker: Buffer): Content | undefined {
  const pieces: Buffer[] = [];
  let first: FrameHeader | undefined;
  for (const [piece, frame] of frames.entries()) {
    const header = readHeader(frame, marker);
    const data = header === undefined ? undefined : readData(frame, header);
    if (header === undefined || data === undefined) return undefined;
    first ??= header;
    if (header.piece !== piece || header.pieces !== frames.length || header.kind !== first.kind) return undefined;
    // Frames of kind raw are checked one by one: there is no more to them.
    if (header.kind !== frameKinds.raw && header.contentCrc !== first.contentCrc) return undefined;
    pieces.push(data);
  }
  if (first === undefined) return undefined;
  const content = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  if (pieces.length > 1 && first.kind !== frameKinds.raw && crc32(content) !== first.contentCrc) return undefined;
  return splitContent(first, content);
}
