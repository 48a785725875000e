/**
 * What a line of the archive is. A Stripe event is its line as it is, whatever members it has; of every other source the line
 * is the CloudEvent around what was delivered. Whoever reads lines asks here, so that all judge alike.
 */

/** Whether the line is the CloudEvent that the night makes of an event of /events/<source>. */
export function isCloudEventLine(event: Readonly<Record<string, unknown>>): boolean {
  const { source, specversion, datacontenttype, created } = event;
  return (
    specversion === '1.0' &&
    datacontenttype === 'application/json' &&
    typeof source === 'string' &&
    source.startsWith('/events/') &&
    // Every Stripe event has it; the CloudEvent of a line has its own members alone.
    created === undefined &&
    Object.hasOwn(event, 'data')
  );
}
