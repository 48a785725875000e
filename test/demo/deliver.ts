/** The demo's senders. */
import { type Secrets, sendDelivery } from './send-delivery.ts';
import type { Delivery, Traffic } from './traffic.ts';

const senders = 8;

/** Sends everything, some at a time, to ingest at `url`; resolves to the kinds, how many there were, and their answers. */
export async function deliver(traffic: Traffic, url: URL, secrets: Secrets): Promise<[string, number, string][]> {
  const counts = new Map<string, number>();
  const waiting = [...traffic.deliveries];
  const send = async () => {
    for (let delivery = waiting.shift(); delivery !== undefined; delivery = waiting.shift()) {
      const { status, body } = await sendDelivery(delivery, url, secrets);
      const { code } = JSON.parse(body);
      const key = JSON.stringify([kindOf(delivery), code === undefined ? String(status) : `${status} ${code}`]);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: senders }, send));
  return [...counts].sort().map(([key, count]) => {
    const [kind, answer] = JSON.parse(key);
    return [kind, count, answer];
  });
}

function kindOf(delivery: Delivery): string {
  if (delivery.to === 'billing') {
    const what = `Billing, ${delivery.events === 1 ? 'one event' : 'an array of events'}`;
    return delivery.kind === 'again' ? `${what}, once more` : what;
  }
  const kinds = {
    first: 'Stripe webhook',
    again: 'Stripe webhook, once more',
    forged: 'Stripe webhook, wrong signature',
  };
  return kinds[delivery.kind];
}
