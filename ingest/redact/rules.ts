/**
 * The rules of a redaction, made ready: for an event of a source and a type, what becomes of each member. Of the rules
 * that name a member the first decides; in one rule `keep` goes before `hash`, `truncate` and `remove`.
 */
import type { Redaction, RedactionRule } from '../../shared/redaction.ts';
import { defaultsAsRules } from './default-rules.ts';

export type Action =
  | { readonly does: 'keep' | 'hash' | 'remove' }
  | { readonly does: 'truncate'; readonly characters: number };

export interface PathRule {
  readonly path: string;
  readonly action: Action;
}

/** Finds the rule for the member `name` of an object that the members of `above` lead to. */
export type RuleFinder = (name: string, above: readonly string[]) => PathRule | undefined;

interface Compiled extends PathRule {
  readonly source: RegExp;
  readonly type: RegExp;
  readonly isAnchored: boolean;
  /** As `plainName` gives them, or `*`. */
  readonly names: readonly string[];
}

/** Senders choose types, and the names in each: what is remembered of either is dropped where it becomes more. */
const maxRemembered = 512;

/** Gives the finder for events of a source and a type. */
export function compileRules({ defaults, rules }: Redaction): (source: string, type: string) => RuleFinder {
  const compiled = [...rules, ...(defaults ? defaultsAsRules() : [])].flatMap(compileRule);
  const finders = new Map<string, RuleFinder>();
  return (source, type) =>
    remembered(finders, `${source}\n${type}`, () =>
      finderOf(compiled.filter((rule) => rule.source.test(source) && rule.type.test(type))),
    );
}

function compileRule({ source = '*', type = '*', keep, hash, truncate, remove }: RedactionRule): Compiled[] {
  const all = (paths: readonly string[] | undefined, does: 'keep' | 'hash' | 'remove') =>
    (paths ?? []).map((path) => ({ path, action: { does } }));
  const cut = Object.entries(truncate ?? {}).map(([path, characters]) => ({
    path,
    action: { does: 'truncate' as const, characters },
  }));
  return [...all(keep, 'keep'), ...all(hash, 'hash'), ...cut, ...all(remove, 'remove')].map((rule) => ({
    ...rule,
    source: patternOf(source),
    type: patternOf(type),
    isAnchored: rule.path.startsWith('$.'),
    names: rule.path
      .replace(/^\$\./, '')
      .split('.')
      .map((name) => (name === '*' ? name : plainName(name))),
  }));
}

function patternOf(pattern: string): RegExp {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}

/** `customerEmail`, `customer_email` and `Customer-Email` are one. */
function plainName(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase();
}

function finderOf(rules: readonly Compiled[]): RuleFinder {
  const byName = new Map<string, { readonly plain: string; readonly candidates: readonly Compiled[] }>();
  const known = (name: string) =>
    remembered(byName, name, () => {
      const plain = plainName(name);
      return { plain, candidates: rules.filter(({ names }) => names.at(-1) === plain || names.at(-1) === '*') };
    });

  function leadsTo({ names, isAnchored }: Compiled, above: readonly string[]): boolean {
    const steps = names.length - 1;
    if (isAnchored ? above.length !== steps : above.length < steps) return false;
    for (let back = 1; back <= steps; back++) {
      const wanted = names[steps - back]!;
      if (wanted !== '*' && wanted !== known(above[above.length - back]!).plain) return false;
    }
    return true;
  }

  return (name, above) => {
    for (const rule of known(name).candidates) if (leadsTo(rule, above)) return rule;
    return undefined;
  };
}

function remembered<T>(known: Map<string, T>, key: string, make: () => T): T {
  const found = known.get(key);
  if (found !== undefined) return found;
  if (known.size >= maxRemembered) known.clear();
  const made = make();
  known.set(key, made);
  return made;
}
