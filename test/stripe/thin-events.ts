/** Thin events (`v2.core.event`) as Stripe delivers and as it lists them. */

export interface ThinEvent {
  readonly id: string;
  /** The notification: what is posted to an endpoint. */
  readonly notification: string;
  /** The event as the list and a retrieval show it: with `data`. */
  readonly listed: string;
}

export interface ThinEventOptions {
  readonly id: string;
  /** RFC 3339 with milliseconds. */
  readonly created: string;
  readonly type?: string;
  readonly context?: string | null;
  readonly data?: object;
  readonly relatedObject?: object;
  /** The id of the snapshot event of the same change. The listed event alone names it. */
  readonly snapshot?: string;
  readonly changes?: object | null;
}

export function thinEvent(options: ThinEventOptions): ThinEvent {
  const { id, created, type = 'v1.billing.meter.error_report_triggered', context = null, changes = null } = options;
  const twin = options.snapshot === undefined ? {} : { snapshot_event: options.snapshot };
  const { relatedObject = { id: 'mtr_1', type: 'billing.meter', url: '/v1/billing/meters/mtr_1' } } = options;
  const { data = { developer_message_summary: 'There is 1 invalid event', reason: { error_count: 1 } } } = options;
  const common = { id, object: 'v2.core.event', type, livemode: false, created, context };
  return {
    id,
    notification: JSON.stringify({ ...common, reason: null, related_object: relatedObject }),
    listed: JSON.stringify({ ...common, changes, data, reason: null, related_object: relatedObject, ...twin }, null, 2),
  };
}

/** Stripe's notice of an event that it failed to generate (docs: Handle webhook event generation failures). */
export function generationFailureNotice(options: {
  readonly id: string;
  readonly created: string;
  readonly eventType: string;
  readonly object: string;
}): ThinEvent {
  const { id, created, eventType, object } = options;
  return thinEvent({
    id,
    created,
    type: 'v2.core.health.event_generation_failure.resolved',
    data: {
      alert_id: 'halert_1',
      grouping_key: '_grouping_1',
      impact: {
        event_type: eventType,
        related_object: { id: object, type: 'invoice', url: `/v1/invoices/${object}` },
      },
      resolved_at: created,
      summary: 'An event failed to generate',
    },
  });
}
