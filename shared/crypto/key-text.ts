/**
 * Texts that hold keys: one entry a line, or a PEM block over several lines. Blank lines and lines that begin with `#`
 * are skipped, white space around lines is cut. A text that came through an environment variable may have its line
 * feeds as the two characters `\n`.
 */
export interface KeyEntry {
  /** Number of its first line, from 1. */
  readonly line: number;
  /** What stands after BEGIN in a PEM block (`PRIVATE KEY`); undefined for an entry of one line. */
  readonly label: string | undefined;
  /** The line, or the whole block. Possibly a secret: never quote it in an error. */
  readonly text: string;
}

export function keyEntries(keyText: string): KeyEntry[] {
  const text = keyText.trim();
  const lines = (text.includes('\n') ? keyText : text.replaceAll('\\n', '\n')).split('\n').map((line) => line.trim());
  const entries: KeyEntry[] = [];
  for (let at = 0; at < lines.length; at++) {
    const first = lines[at]!;
    if (first === '' || first.startsWith('#')) continue;
    const label = /^-----BEGIN ([A-Z0-9 ]+)-----$/.exec(first)?.[1];
    // A block without its end runs to the end of the text: what follows may be a piece of a private key.
    let last = at;
    if (label !== undefined) while (last + 1 < lines.length && lines[last] !== `-----END ${label}-----`) last++;
    entries.push({ line: at + 1, label, text: `${lines.slice(at, last + 1).join('\n')}\n` });
    at = last;
  }
  return entries;
}
