/** One row of an export: what a line of the archive tells of its event, and the line itself. */
import { parseInstant } from '../../shared/clock.ts';
import { isCloudEventLine } from '../../shared/event-line.ts';
import { quickReader } from '../../shared/json/json-bytes.ts';
import { scopeOfEvent } from '../../shared/schemes/stripe-scope.ts';

export interface EventRow {
  readonly source: string;
  readonly id: string;
  readonly type: string | null;
  /** Milliseconds since the epoch. */
  readonly created: number | null;
  readonly livemode: boolean | null;
  /** The connected account that it is of; null where it names none. */
  readonly account: string | null;
  readonly api_version: string | null;
  /** `data.object.id` of a Stripe event, `related_object.id` of a thin one, else `subject`. */
  readonly object_id: string | null;
  /** `data.object.amount`, in the smallest unit of the currency; null where that is not a whole number below 2^53. */
  readonly amount: number | null;
  /** `data.object.currency`. */
  readonly currency: string | null;
  /** How it came: see `Ways`. */
  readonly via: string | null;
  /** The line: the event as JSON, in the archive's canonical form. */
  readonly data: Buffer;
}

const member = { id: true, amount: true, currency: true } as const;
const readQuickly = quickReader({
  ...{ id: true, type: true, created: true, livemode: true, account: true, user_id: true, context: true },
  ...{ api_version: true, related_object: { id: true }, data: { object: member } },
  ...{ source: true, specversion: true, datacontenttype: true, subject: true, time: true },
});

/** `line` is one of the archive, without its LF, and is kept in the row as it is. */
export function eventRow(source: string, line: Buffer, viaOf: (id: string) => string | null): EventRow {
  const event = readQuickly(line) ?? (JSON.parse(line.toString()) as Record<string, unknown>);
  const { id, type } = event;
  const common = { source, id: String(id), type: textOf(type), via: viaOf(String(id)), data: line };
  if (isCloudEventLine(event)) {
    return {
      ...common,
      created: instantOf(event.time),
      livemode: null,
      account: null,
      api_version: null,
      object_id: textOf(event.subject),
      amount: null,
      currency: null,
    };
  }
  const { created, livemode } = event;
  const about = membersOf(membersOf(event.data).object);
  return {
    ...common,
    created: typeof created === 'number' ? created * 1000 : instantOf(created),
    livemode: typeof livemode === 'boolean' ? livemode : null,
    account: scopeOfEvent(event).accounts[0] ?? null,
    api_version: textOf(event.api_version),
    object_id: textOf(about.id) ?? textOf(membersOf(event.related_object).id),
    amount: Number.isSafeInteger(about.amount) ? (about.amount as number) : null,
    currency: textOf(about.currency),
  };
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function instantOf(value: unknown): number | null {
  return typeof value === 'string' ? (parseInstant(value) ?? null) : null;
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
