/** What a body that nobody has proven says of itself, as far as it tells which secret it wants. Never its content. */
import { type Found, problem, warning } from '../../shared/doctor/finding.ts';
import type { Source } from '../../shared/schemes/sources.ts';
import { isObject, parseJsonBody } from '../receive/json-body.ts';

export function describeStripeBody(body: Buffer, source: Source | undefined): Found[] {
  if (body.length === 0) {
    const hint =
      'Something before ingest read the body and sent on none: a body parser, or a redirect (Stripe follows none).';
    return [problem('the body is empty', hint)];
  }
  let event: unknown;
  try {
    event = parseJsonBody(body).value;
  } catch {
    return [
      problem('the body is not JSON in UTF-8, as Stripe sends it', 'See what changed it on the way, or who sent it.'),
    ];
  }
  if (!isObject(event)) return [problem('the body is not a JSON object', 'It is not an event of Stripe’s.')];
  return [...describeKind(event, source), ...describeMode(event, source), ...describeAccount(event, source)];
}

function describeKind(event: Readonly<Record<string, unknown>>, source: Source | undefined): Found[] {
  const isThinWanted = source?.scheme === 'stripe' && source.thinEvents === true;
  if (event.object === 'v2.core.event') {
    const hint =
      'Thin events come from an event destination, which has a signing secret of its own beside that of the webhook endpoint: list both in `secrets`.';
    return [warning('the body says that it is a thin event (v2.core.event)', hint)];
  }
  if (event.object === 'event' && isThinWanted) {
    const hint = 'The webhook endpoint for snapshot events has a signing secret of its own: list it in `secrets` too.';
    return [warning('the body says that it is a snapshot event, and the source is set up for thin events', hint)];
  }
  if (event.object === 'event') return [];
  const hint =
    'Stripe sends objects `event` and `v2.core.event`: something took the event out of its envelope, or added one.';
  return [warning('the body is not an event, by what it says of itself', hint)];
}

function describeMode({ livemode }: Readonly<Record<string, unknown>>, source: Source | undefined): Found[] {
  const mode = source?.scheme === 'stripe' ? source.mode : undefined;
  if (typeof livemode !== 'boolean' || mode === undefined || livemode === (mode === 'live')) return [];
  const hint = 'Live and test mode have endpoints, and signing secrets, of their own.';
  return [warning(`the body says livemode ${livemode}, and ${source!.name} is a source of ${mode} mode`, hint)];
}

function describeAccount({ account }: Readonly<Record<string, unknown>>, source: Source | undefined): Found[] {
  if (typeof account !== 'string' || source?.scheme !== 'stripe' || source.accounts !== undefined) return [];
  const hint =
    'It comes from a Connect endpoint, which has a signing secret of its own; list its accounts in `accounts`.';
  return [warning('the body says that it is of a connected account', hint)];
}
