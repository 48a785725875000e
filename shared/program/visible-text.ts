/**
 * Text for a terminal. Names of files and objects, and what servers and senders say, are foreign: an escape sequence
 * in them would move the cursor, recolour or rename the terminal, and a line feed would forge a line of ours.
 */

/** A name or a sentence: control and format characters come out as `\u001b`. */
export function visibleText(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, escaped);
}

/** A whole output, JSON too: the same, but for its own line feeds and tabs. */
export function visibleLines(text: string): string {
  return text.replaceAll(/(?![\n\t])[\p{Cc}\p{Cf}\u2028\u2029]/gu, escaped);
}

/** As JSON writes it, so that JSON text keeps its meaning. */
function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
  ).join('');
}
