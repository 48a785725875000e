/** Stripe events for tests and the demo: the real ones of test/fixtures/stripe-events under new ids and times. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

export interface MadeEvent {
  readonly id: string;
  readonly type: string;
  readonly createdSeconds: number;
  readonly livemode: boolean;
  /** `data.object.id`, where there is one. */
  readonly objectId: string | undefined;
  /** The body as Stripe delivers it: JSON, indented by two spaces. */
  readonly text: string;
}

export interface StripeEventsOptions {
  readonly count: number;
  /** The same seed makes the same events; another one makes others, with no id in common. */
  readonly seed: number | string;
  /** `created` lies in [fromSeconds, toSeconds), spread evenly and ascending. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** Default: as the fixture has it. */
  readonly livemode?: boolean;
}

const folder = new URL('../fixtures/stripe-events/', import.meta.url);
const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** Stand where an event's own values go; no fixture holds their like. */
const marks = { id: '@@id@@', object: '@@object@@', created: '@@created@@' };

/** A fixture's text cut where an event's own values go. */
interface Template {
  readonly type: string;
  readonly livemode: boolean;
  readonly objectPrefix: string | undefined;
  readonly pieces: readonly { readonly text: string; readonly mark: keyof typeof marks | 'end' }[];
}

export function stripeEvents(options: StripeEventsOptions): MadeEvent[] {
  return [...eachStripeEvent(options)];
}

/** The same, one at a time: for more events than memory holds. */
export function* eachStripeEvent(options: StripeEventsOptions): Generator<MadeEvent> {
  const { count, seed, fromSeconds, toSeconds } = options;
  const templates = readTemplates(options.livemode);
  for (let index = 0; index < count; index++) {
    const random = createHash('sha512').update(`${seed}/${index}`).digest();
    const template = templates[random.readUInt32BE(0) % templates.length]!;
    const id = `evt_1${letters(random.subarray(4, 27))}`;
    const { objectPrefix } = template;
    const objectId = objectPrefix === undefined ? undefined : `${objectPrefix}${letters(random.subarray(27, 50))}`;
    const within = random.readUInt32BE(50) / 2 ** 32;
    const createdSeconds = fromSeconds + Math.floor(((index + within) * (toSeconds - fromSeconds)) / count);
    const values = { id: `"${id}"`, object: `"${objectId}"`, created: String(createdSeconds), end: '' };
    const text = template.pieces.map((piece) => piece.text + values[piece.mark]).join('');
    yield { id, type: template.type, createdSeconds, livemode: template.livemode, objectId, text };
  }
}

/** The copy of a delivered event that the list shows later: nobody is waiting for a webhook any more. */
export function listedCopy(text: string): string {
  return text.replace(/"pending_webhooks": \d+/, '"pending_webhooks": 0');
}

function readTemplates(livemode: boolean | undefined): Template[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  return files.sort().map((name) => templateOf(readFileSync(new URL(name, folder), 'utf8'), livemode));
}

function templateOf(fixture: string, livemode: boolean | undefined): Template {
  const event = JSON.parse(fixture);
  const object = event.data.object;
  const objectPrefix = typeof object.id === 'string' ? object.id.replace(/[^_]*$/, '') : undefined;
  event.id = marks.id;
  event.created = marks.created;
  if (objectPrefix !== undefined) object.id = marks.object;
  if (livemode !== undefined) {
    event.livemode = livemode;
    if (typeof object.livemode === 'boolean') object.livemode = livemode;
  }
  // A captured separator stays in the result: text and marks in turn.
  const parts = JSON.stringify(event, null, 2).split(/"@@(id|object|created)@@"/);
  const pieces: Template['pieces'][number][] = [];
  for (let at = 0; at < parts.length; at += 2) {
    pieces.push({ text: parts[at]!, mark: (parts[at + 1] ?? 'end') as keyof typeof marks | 'end' });
  }
  return { type: event.type, livemode: event.livemode, objectPrefix, pieces };
}

function letters(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += alphabet[byte % alphabet.length];
  return text;
}
