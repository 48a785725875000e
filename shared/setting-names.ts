/** Names of environment variables that begin as ours do: which are settings, which are Kubernetes' own, which are mistakes. */

type Environment = Readonly<Record<string, string | undefined>>;

const ours = /^(?:DAYBOOK|INGEST|COMPACTOR)_/;

/**
 * Kubernetes sets such variables in every pod for every Service of its namespace (kubernetes.io/docs/concepts/services-networking/service,
 * Environment variables). A Service named `ingest` makes an INGEST_PORT, but its value is not a port.
 */
const ofService = /_(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_.+)$/;
const ofServiceAddress = /^(?:tcp|udp|sctp):\/\//i;

/** The environment without what Kubernetes put there. */
export function withoutServices(environment: Environment): Environment {
  return Object.fromEntries(
    Object.entries(environment).filter(
      ([name, value]) =>
        !ours.test(name) || !(ofService.test(name) || (name.endsWith('_PORT') && ofServiceAddress.test(value ?? ''))),
    ),
  );
}

/** A problem for each name that begins as ours do and is not known. */
export function unknownNames(environment: Environment, known: ReadonlySet<string>): string[] {
  return Object.keys(environment)
    .filter((name) => ours.test(name) && !known.has(name))
    .sort()
    .map((name) => {
      const nearest = nearestName(name, known);
      return `${name}: is not a setting of daybook${nearest === undefined ? '' : `. Did you mean ${nearest}?`}`;
    });
}

/** The known name that takes the fewest changes; undefined where that is more than a third of the letters after the prefix. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const [prefix, own] = splitName(name);
  let nearest: string | undefined;
  let most = Math.max(1, Math.floor(own.length / 3));
  for (const candidate of known) {
    const [itsPrefix, its] = splitName(candidate);
    const distance = editDistance(own, its) + (prefix === itsPrefix ? 0 : 1);
    if (distance > most) continue;
    most = distance - 1;
    nearest = candidate;
  }
  return nearest;
}

function splitName(name: string): [prefix: string, own: string] {
  const end = name.indexOf('_') + 1;
  return [name.slice(0, end), name.slice(end)];
}

/** Letters to insert, delete, replace, or exchange with the next one. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isExchanged = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const exchanged = isExchanged ? before[j - 2]! + 1 : replaced;
      next.push(Math.min(replaced, exchanged, row[j]! + 1, next[j - 1]! + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}
