/** Whose an event is: by its source and id alone, so that all copies of it meet in one worker, whatever partition they came by. */

/** The worker, from 0, of `count`. FNV-1a over UTF-16 units with a final mix. */
export function ownerOf(source: string, id: string, count: number): number {
  let value = hashed(source, 0x811c9dc5);
  value = hashed(id, Math.imul(value ^ 0x2f, 0x01000193));
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d);
  return ((value ^ (value >>> 13)) >>> 0) % count;
}

/** Of a part: which worker of how many wrote it. */
export type Share = readonly [index: number, count: number];

/** Whether an event of that share may be this worker's: of equally many workers each has what it wrote itself. */
export function mayHold(
  share: Share | undefined,
  { index, count }: { readonly index: number; readonly count: number },
): boolean {
  return share === undefined || (share[0] - index) % greatestDivisor(share[1], count) === 0;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

function hashed(text: string, seed: number): number {
  let value = seed;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value;
}
