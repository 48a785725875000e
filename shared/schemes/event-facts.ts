/** What a signed body that is an object says of its event. */
import { contentId } from './content-id.ts';
import type { EventFacts, Headers, Scheme } from './scheme.ts';

type Event = Readonly<Record<string, unknown>>;

/** A CloudEvent's own words, whoever signs it; else the scheme's. */
export function factsOf(scheme: Pick<Scheme, 'describe'>, headers: Headers, event: Event): EventFacts {
  const { specversion, id, type, subject, time } = event;
  if (specversion === '1.0' && typeof id === 'string' && typeof type === 'string') {
    // null stands for an attribute that is not there (CloudEvents JSON format §2.2).
    return { id, type, subject: subject ?? undefined, time: time ?? undefined };
  }
  return scheme.describe?.(headers, event) ?? { type };
}

/** The id under which the event is known; undefined where the body is not a JSON object. */
export function signedIdOf(scheme: Pick<Scheme, 'describe'>, headers: Headers, body: Uint8Array): unknown {
  try {
    const text = Buffer.from(body).toString();
    const event: unknown = JSON.parse(text);
    if (typeof event !== 'object' || event === null || Array.isArray(event)) return undefined;
    return factsOf(scheme, headers, event as Event).id ?? contentId(text);
  } catch {
    return undefined;
  }
}

/** The type that a sender gives, where it is a text; else the name of its scheme stands for it. */
export function typeOr(type: unknown, schemeName: string): string {
  return typeof type === 'string' && type !== '' ? type : schemeName;
}
