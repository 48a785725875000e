/** A tar file (POSIX.1-1988, ustar) of a few small files, each for its owner alone. */

export interface FileOfTar {
  /** Relative, of 100 bytes at most. */
  readonly path: string;
  readonly bytes: Buffer;
}

const blockBytes = 512;

/** Folders are made by whoever unpacks it, since each path has its own. */
export function tarOf(files: readonly FileOfTar[], madeAtMs: number): Buffer {
  const blocks = files.flatMap(({ path, bytes }) => [
    headerOf(path, bytes.length, madeAtMs),
    bytes,
    Buffer.alloc((blockBytes - (bytes.length % blockBytes)) % blockBytes),
  ]);
  return Buffer.concat([...blocks, Buffer.alloc(2 * blockBytes)]);
}

function headerOf(path: string, size: number, madeAtMs: number): Buffer {
  if (Buffer.byteLength(path) > 100) throw new RangeError(`${path} is longer than a tar header takes`);
  const header = Buffer.alloc(blockBytes);
  const octal = (value: number, at: number, digits: number) =>
    header.write(`${value.toString(8).padStart(digits, '0')}\0`, at);
  header.write(path, 0);
  octal(0o600, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(Math.floor(madeAtMs / 1000), 136, 11);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\u000000', 257);
  // Of all its bytes, while the sum itself is blanks.
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  header.write(' ', 155);
  return header;
}
