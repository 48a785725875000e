/** HTML by tagged templates: whatever is put in is escaped, unless it is HTML that was made here. */
import { visibleText } from '../../shared/program/visible-text.ts';

/** Made by `html` alone. */
export class Html {
  readonly #text: string;

  constructor(parts: readonly string[], values: readonly Value[]) {
    this.#text = parts.map((part, index) => part + (index < values.length ? textOf(values[index]) : '')).join('');
  }

  toString(): string {
    return this.#text;
  }
}

/** Nothing is shown of null, undefined and false. */
export type Value = Html | string | number | null | undefined | false | readonly Value[];

/**
 * Values may stand in text and in attributes within double quotes, nowhere else. Control characters and those that turn the
 * direction of text, by which an id could look like another, come out as `\u202e`.
 */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(parts, values);
}

function textOf(value: Value): string {
  if (value instanceof Html) return value.toString();
  if (value === null || value === undefined || value === false) return '';
  if (typeof value === 'object') return value.map(textOf).join('');
  return visibleText(String(value)).replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
