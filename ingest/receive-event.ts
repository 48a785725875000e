import type { IncomingMessage } from 'node:http';
import { type Clock, isoOf } from '../shared/clock.ts';
import type { StreamKey } from '../shared/crypto/stream-seal.ts';
import { writeEnvelope } from '../shared/envelope.ts';
import { DaybookError } from '../shared/errors.ts';
import { checkMediaType } from '../shared/http/content-type.ts';
import type { Answer } from '../shared/http/problem.ts';
import type { AppendRecord } from '../shared/stream/stream.ts';
import { type Publishing, publishOrSpool } from './publish-or-spool.ts';
import { type BodyBudget, readBody } from './receive/read-body.ts';
import type { NamedEvent, Proof, Protocol, ReceivedEvent, ReceivedRequest } from './schemes/protocol.ts';

/** What receiving needs; the clock comes in so that tests can pass their own. */
export interface Reception {
  readonly clock: Clock;
  readonly maxBodyBytes: number;
  readonly bodyBudget: BodyBudget;
  readonly publishing: Publishing;
  /** Seals each record. */
  readonly streamKey?: StreamKey | undefined;
}

/** A request that knows who called: who opened the connection, or who a trusted proxy says that it was called by. */
export type IncomingCall = IncomingMessage & { readonly ip?: string | undefined };

/** As sent, without the host. */
export type RequestTarget = Pick<ReceivedRequest, 'path' | 'query'>;

/** What the one log line of a request says of it: no header value, no body. */
export interface RequestNotes {
  route: string;
  source?: string;
  keyid?: string;
  /** Of the body. */
  bytes: number;
  /** Of the event, once its sender is proven; of several the first's. */
  eventId?: string;
  type?: string;
  /** How many came. */
  events?: number;
  /** Events stored. */
  records: number;
  /** Of a caller who was refused for it: its address. */
  caller?: string;
  /** False where a valid event was left out by design (the other mode of a source with accounts). */
  stored?: boolean;
}

/**
 * A request that brings events, from its headers to its answer. Everything before `publishOrSpool` can be refused and
 * has no effect; everything after it is durable. Throws a DaybookError with the HTTP status of its code.
 */
export async function receiveEvent(
  incoming: IncomingCall,
  target: RequestTarget,
  protocol: Protocol,
  reception: Reception,
  notes: RequestNotes,
): Promise<Answer> {
  checkCaller(incoming, protocol, notes); // 403
  if (protocol.mediaTypes !== undefined) checkMediaType(incoming.headers, protocol.mediaTypes); // 415
  const body = await readBody(incoming, reception.maxBodyBytes, reception.bodyBudget); // 413, 503
  try {
    notes.bytes = body.length;
    const request = { headers: incoming.headers, ...target, body, receivedAtMs: reception.clock.now().getTime() };

    const proof = protocol.verify(request); // 400, 401, 403, before anything is parsed
    notes.source = proof.sourceName;
    notes.keyid = proof.keyid;
    checkCaller(incoming, protocol, notes, proof.sourceName); // 403, of a route that several sources share

    const events = protocol.parse(request, (first, count) => nameEvents(notes, first, count)); // 400, 403, 422
    if (events === undefined) {
      notes.stored = false;
      return protocol.accepted(undefined);
    }

    const records = events.map((event) => recordOf(event, protocol, proof, request, reception.streamKey));
    await publishOrSpool(records, reception.publishing); // 503
    notes.records = records.length;
    notes.stored = true;
    // Dies here: the events are durable, their sender does not know and repeats.
    return protocol.accepted(events);
  } finally {
    reception.bodyBudget.giveBack(body.length);
  }
}

/** The address is worked out only where a source names its callers. */
function checkCaller(incoming: IncomingCall, { admits }: Protocol, notes: RequestNotes, sourceName?: string): void {
  if (admits === undefined || admits(incoming.ip, sourceName)) return;
  if (incoming.ip !== undefined) notes.caller = incoming.ip;
  throw new DaybookError('caller_refused');
}

/** Ids are 255 characters at most; a type may be longer than a log line should be. */
const maxNotedCharacters = 255;

function nameEvents(notes: RequestNotes, { id, type }: NamedEvent, count: number): void {
  notes.eventId = id;
  notes.type = type.slice(0, maxNotedCharacters);
  notes.events = count;
}

function recordOf(
  event: ReceivedEvent,
  protocol: Protocol,
  proof: Proof,
  request: ReceivedRequest,
  streamKey: StreamKey | undefined,
): AppendRecord {
  const { id, type, subject, time, partitionKey, data } = event;
  const header = {
    id,
    source: `/${protocol.kind}/${proof.sourceName}`,
    type,
    subject,
    time,
    receivedat: isoOf(request.receivedAtMs),
    via: protocol.via,
    scheme: proof.scheme,
    signedheaders: proof.signedheaders,
    path: request.path,
    keyid: proof.keyid,
  };
  return { key: partitionKey, value: writeEnvelope(header, data, streamKey) };
}
