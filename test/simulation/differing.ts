/** Whether copies of one event tell the same (FORMAT.md, Exceptions), by rules of the model's own. */
import { canonicalJson } from '../../shared/json/canonical-json.ts';
import type { Sent } from './sent.ts';
import type { ListedEvent } from './traffic.ts';

/** Of one day: the ids whose copies in hand tell different things. */
export function differing(copies: readonly Sent[], listed: readonly ListedEvent[]): string[] {
  const bodies = new Map<string, string[]>();
  const add = (id: string, told: string) => bodies.set(id, [...(bodies.get(id) ?? []), told]);
  for (const { id, text } of listed) add(id, text);
  // What was published or restored repeats the archive, and is compared with nothing.
  for (const copy of copies) {
    if (copy.isDelivered) add(copy.id, copy.kind === 'stripe' ? copy.body : copy.line(''));
  }
  const isStripe = listed.length > 0 || copies[0]?.kind === 'stripe';
  const differs = (told: readonly string[]) => (isStripe ? stripeDiffers(told) : new Set(told).size > 1);
  return [...bodies].flatMap(([id, told]) => (differs(told) ? [id] : []));
}

function stripeDiffers(bodies: readonly string[]): boolean {
  const events = bodies.map((body) => JSON.parse(body));
  const [first] = events;
  const dataOf = new Map<string, string>();
  for (const event of events) {
    if (event.type !== first.type || event.created !== first.created || event.livemode !== first.livemode) return true;
    if (event.data === undefined && event.object === 'v2.core.event') continue;
    const data = canonicalJson(JSON.stringify(event.data));
    const version = String(event.api_version);
    if ((dataOf.get(version) ?? data) !== data) return true;
    dataOf.set(version, data);
  }
  return false;
}
