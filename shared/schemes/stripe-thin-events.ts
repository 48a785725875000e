/**
 * Thin events (`v2.core.event`) as far as the night looks into them. What is delivered is a notification: id, type,
 * created, livemode, and where there are any context, reason and related_object. The same event as listed has `data` and
 * `changes` beside.
 */

/** An event that Stripe failed to generate, as its notice tells. It has no id, and no time of its own is told. */
export interface GenerationFailure {
  /** Id of the event that announced it. */
  readonly notice: string;
  /** The type of the event that there is not; null where the notice does not tell (a notification has no `data`). */
  readonly eventType: string | null;
  /** The id of the object that it would have been about; null where the notice does not tell. */
  readonly object: string | null;
}

const noticeTypes = 'v2.core.health.event_generation_failure.';

export interface ThinFacts {
  readonly generationFailure?: GenerationFailure;
}

/** What a delivered event tells, if it is a thin one. */
export function thinFacts(event: Readonly<Record<string, unknown>>): ThinFacts | undefined {
  if (!isThinEvent(event)) return undefined;
  const generationFailure = generationFailureOf(event);
  return generationFailure === undefined ? {} : { generationFailure };
}

export function isThinEvent(event: { readonly object?: unknown }): boolean {
  return event.object === 'v2.core.event';
}

/**
 * The shape is that of `V2CoreHealthEventGenerationFailureResolvedEvent` in Stripe's libraries: `data.impact` with
 * `event_type` and `related_object`, in the first preview `related_object_id`.
 */
export function generationFailureOf(event: Readonly<Record<string, unknown>>): GenerationFailure | undefined {
  const { id, type, data } = event;
  if (typeof id !== 'string' || typeof type !== 'string' || !type.startsWith(noticeTypes)) return undefined;
  const impact = memberOf(data, 'impact');
  const object = memberOf(memberOf(impact, 'related_object'), 'id') ?? memberOf(impact, 'related_object_id');
  return { notice: id, eventType: nameOf(memberOf(impact, 'event_type')), object: nameOf(object) };
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function nameOf(value: unknown): string | null {
  return typeof value === 'string' && value.length <= 255 ? value : null;
}
