/** What a secret looks like, from the prefixes that Stripe gives (docs.stripe.com/keys). Its text is never repeated. */

export interface SecretKind {
  readonly kind:
    | 'signing secret'
    | 'secret API key'
    | 'restricted API key'
    | 'secret key of an organisation'
    | 'publishable API key'
    | "webhook endpoint's id"
    | 'PEM'
    | 'other';
  readonly mode?: 'live' | 'test';
}

const prefixes: readonly (readonly [RegExp, SecretKind['kind']])[] = [
  [/^whsec_/, 'signing secret'],
  [/^sk_(live|test)_/, 'secret API key'],
  [/^sk_org_(?:(live|test)_)?/, 'secret key of an organisation'],
  [/^rk_(live|test)_/, 'restricted API key'],
  [/^pk_(live|test)_/, 'publishable API key'],
  [/^(?:we|ed)_/, "webhook endpoint's id"],
  [/^-----BEGIN /, 'PEM'],
];

export function secretKind(text: string): SecretKind {
  const plain = unquoted(text);
  for (const [prefix, kind] of prefixes) {
    const match = prefix.exec(plain);
    if (match !== null) return match[1] === undefined ? { kind } : { kind, mode: match[1] as 'live' | 'test' };
  }
  return { kind: 'other' };
}

/** Without white space and quotes around it: what is left of a copy out of a file or a shell. */
export function unquoted(text: string): string {
  return text
    .trim()
    .replace(/^(["'`])([\s\S]*)\1$/, '$2')
    .trim();
}
