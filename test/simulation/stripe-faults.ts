/** Faults of Stripe's answers, drawn from the seed. */
import type { FakeStripe, FaultAction } from '../stripe/fake-stripe.ts';
import type { Random } from './random.ts';

/** Each request draws for itself whether it meets a fault, and which. */
export function injectStripeFaults(fake: FakeStripe, random: Random, rate: number, met: (kind: string) => void): void {
  fake.faults.length = 0;
  // A cursor may age out in any night, which is not a failure.
  fake.faults.push({
    action: 'cursor aged out',
    times: Number.POSITIVE_INFINITY,
    when: ({ query }) => query.has('starting_after') && random.chance(0.15) && said(met, 'cursor aged out'),
  });
  if (rate === 0) return;
  const refused = { status: 403, body: '{"error":{"type":"invalid_request_error"}}' };
  const revoked = { status: 401, body: '{"error":{"type":"authentication_error"}}' };
  const actions: readonly (readonly [string, FaultAction])[] = [
    ['429', 'rate limit'],
    ['500', 'server error'],
    ['reset', 'reset before'],
    ['reset in body', 'reset in body'],
    ['half an answer', 'malformed'],
    ['access refused', refused],
    ['key refused', revoked],
  ];
  // A storm of one kind, or a mixture.
  const storm = random.chance(0.5) ? random.pick(actions)[0] : undefined;
  const drawn = new Map<number, string | undefined>();
  for (const [kind, action] of actions) {
    fake.faults.push({
      action,
      times: Number.POSITIVE_INFINITY,
      when(request) {
        if (!drawn.has(request.number)) {
          const isMet = random.chance(rate);
          drawn.set(request.number, isMet ? (storm ?? random.pick(actions)[0]) : undefined);
        }
        if (drawn.get(request.number) !== kind) return false;
        return said(met, kind);
      },
    });
  }
}

function said(met: (kind: string) => void, kind: string): true {
  met(`Stripe: ${kind}`);
  return true;
}
