/**
 * The value of a stream record: CloudEvents 1.0 in structured JSON, on every driver alike (PROTOCOLS.md, Stream records).
 *
 *   {"specversion":"1.0","id":…,"source":"/stripe/<name>","type":…,"subject":…,"time":…,"datacontenttype":
 *    "application/json","receivedat":…,"via":…,"scheme":…,"signedheaders":…,"path":…,"keyid":…,"seal":…,"data":<bytes>}
 *
 * Invariants:
 * - every member but `data` is a JSON string; members without a value are left out; the order is the one above;
 * - `data` is the last member and holds the received bytes verbatim, so the signature can be checked again;
 * - `seal`, where there is one, stands just before: `<key id, 16 hex>:<43 characters of base64url>`, the MAC of all the
 *   bytes that the envelope has without it (stream-seal.ts);
 * - therefore the first `,"data":` ends the header: inside a JSON string its quotes would be escaped.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { parseInstant } from './clock.ts';
import { isSameMac, macOf, type StreamKey, type StreamKeys } from './crypto/stream-seal.ts';
import { isSourceName } from './schemes/source-members.ts';

export type Via = 'webhook' | 'events' | 'list' | 'restore';

export interface EnvelopeHeader {
  /** Identity is (source, id). */
  readonly id: string;
  /** `/stripe/<name>` or `/events/<name>`. */
  readonly source: string;
  readonly type: string;
  readonly subject?: string | undefined;
  /** The claimed time, RFC 3339, as the sender wrote it; left out where none was claimed. */
  readonly time?: string | undefined;
  /** RFC 3339 UTC with milliseconds. */
  readonly receivedat: string;
  readonly via: Via;
  readonly scheme: string;
  /** The headers that the scheme signs, `name: value` joined by `; `. */
  readonly signedheaders?: string | undefined;
  readonly path?: string | undefined;
  /** First 16 hex of the SHA-256 of the secret that verified. */
  readonly keyid?: string | undefined;
}

export interface Envelope {
  readonly header: EnvelopeHeader;
  /** The header's own bytes, without the brace that would close it, and without the seal. */
  readonly headerBytes: Buffer;
  readonly seal?: { readonly keyId: string; readonly mac: string };
  /** The instant of the claimed time, or of the receipt where none is claimed. */
  readonly instantMs: number;
  readonly data: Buffer;
}

/** Kept in a record of the stream beside the largest body. */
export const envelopeBytes = 32 * 1024;

/** Of a member of the header: longer texts would not fit into `envelopeBytes`. */
export const maxHeaderCharacters = 1024;

const optionalMembers = ['subject', 'time', 'signedheaders', 'path', 'keyid', 'seal'] as const;
const requiredMembers = ['id', 'source', 'type', 'receivedat', 'via', 'scheme'] as const;
const receipt = /^\d{4}-(?:0[1-9]|1[0-2])-(\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;
const dataMark = Buffer.from(',"data":');
const end = Buffer.from('}');
const sealMark = ',"seal":"';
const sealAtEnd = /^,"seal":"([0-9a-f]{16}):([\w-]{43})"$/;
/** `,"seal":"`, key id, colon, MAC, quote. */
const sealBytes = 9 + 16 + 1 + 43 + 1;
const text = '([\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]+)';
/** A header as `writeEnvelope` writes it, whole, of ASCII that needs no escapes, and no member empty. */
const plainHeader = new RegExp(
  `^\\{"specversion":"1\\.0","id":"${text}","source":"${text}","type":"${text}"(?:,"subject":"${text}")?(?:,"time":"${text}")?,"datacontenttype":"application/json","receivedat":"${text}","via":"${text}","scheme":"${text}"(?:,"signedheaders":"${text}")?(?:,"path":"${text}")?(?:,"keyid":"${text}")?(?:,"seal":"${text}")?$`,
);
const vias: ReadonlySet<string> = new Set<Via>(['webhook', 'events', 'list', 'restore']);

/** `key` seals it. */
export function writeEnvelope(header: EnvelopeHeader, data: Uint8Array, key?: StreamKey): Buffer {
  const { id, source, type, subject, time, receivedat, via, scheme, signedheaders, path, keyid } = header;
  const text = JSON.stringify({
    specversion: '1.0',
    id,
    source,
    type,
    subject,
    time,
    datacontenttype: 'application/json',
    receivedat,
    via,
    scheme,
    signedheaders,
    path,
    keyid,
  });
  return joinEnvelope(Buffer.from(text.slice(0, -1)), data, key);
}

/** The same envelope, sealed by another key. */
export function sealAgain({ headerBytes, data }: Envelope, key: StreamKey | undefined): Buffer {
  return joinEnvelope(headerBytes, data, key);
}

function joinEnvelope(head: Buffer, data: Uint8Array, key: StreamKey | undefined): Buffer {
  if (key === undefined) return Buffer.concat([head, dataMark, data, end]);
  const seal = Buffer.from(`${sealMark}${key.keyId}:${macOf(key, [head, dataMark, data, end])}"`);
  return Buffer.concat([head, seal, dataMark, data, end]);
}

export type SealState = 'holds' | 'absent' | 'unknown key' | 'broken';

/** Whether one of the keys sealed the envelope just so. */
export function checkSeal({ seal, headerBytes, data }: Envelope, keys: StreamKeys): SealState {
  if (seal === undefined) return 'absent';
  const key = keys.find(({ keyId }) => keyId === seal.keyId);
  if (key === undefined) return 'unknown key';
  return isSameMac(seal.mac, macOf(key, [headerBytes, dataMark, data, end])) ? 'holds' : 'broken';
}

/** What a stream record holds, or why it is not an envelope. Checks the header's shape; of `data` only that it is UTF-8. */
export function readEnvelope(value: Uint8Array): Envelope | { readonly reason: string } {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const mark = bytes.indexOf(dataMark);
  if (mark < 0 || bytes[bytes.length - 1] !== 0x7d) return { reason: 'no data member' };
  if (!isUtf8(bytes)) return { reason: 'not UTF-8' };
  const header = readPlainHeader(bytes.subarray(0, mark)) ?? readHeader(bytes.subarray(0, mark));
  if (typeof header === 'string') return { reason: header };
  if (!vias.has(header.via)) return { reason: 'via is unknown' };
  if (sourceOf(header) === undefined) return { reason: 'source is malformed or reserved' };
  if (!isEventId(header.id)) return { reason: 'id is too long or has control characters' };
  if (!isReceipt(header.receivedat)) return { reason: 'receivedat is not a UTC date-time with milliseconds' };
  const instantMs = parseInstant(header.time ?? header.receivedat);
  if (instantMs === undefined) return { reason: 'time is not a date-time' };
  const data = bytes.subarray(mark + dataMark.length, -1);
  if (header.seal === undefined) return { header, headerBytes: bytes.subarray(0, mark), instantMs, data };
  // Where it stands is part of the form: what is before it is what was sealed.
  const found = sealAtEnd.exec(bytes.toString('latin1', Math.max(mark - sealBytes, 0), mark));
  if (found === null) return { reason: 'seal is malformed' };
  const seal = { keyId: found[1]!, mac: found[2]! };
  return { header, headerBytes: bytes.subarray(0, mark - sealBytes), seal, instantMs, data };
}

/** `EnvelopeHeader` as it came, and what only `readEnvelope` looks at. */
type Header = EnvelopeHeader & { readonly seal?: string | undefined };

/**
 * A header's members, not checked, where it is one that ingest or the compactor wrote, without the brace that would close it, and
 * needs no escapes: most are, and it takes half of the time that JSON.parse does. Else undefined.
 */
export function readPlainHeader(bytes: Buffer): Header | undefined {
  const plain = plainHeader.exec(bytes.toString('latin1'));
  if (plain === null) return undefined;
  const [, id, source, type, subject, time, receivedat, via, scheme, signedheaders, path, keyid, seal] = plain;
  return { id, source, type, subject, time, receivedat, via, scheme, signedheaders, path, keyid, seal } as Header;
}

/** Or why it is none. */
function readHeader(bytes: Buffer): Header | string {
  let members: Record<string, unknown>;
  try {
    members = JSON.parse(`${bytes.toString()}}`);
  } catch {
    return 'header is not JSON';
  }
  if (members.specversion !== '1.0') return 'specversion is not 1.0';
  for (const name of requiredMembers) {
    if (typeof members[name] !== 'string' || members[name] === '') return `${name} is missing`;
  }
  for (const name of optionalMembers) {
    if (members[name] !== undefined && typeof members[name] !== 'string') return `${name} is not a string`;
  }
  return members as unknown as Header;
}

function isReceipt(text: string): boolean {
  const date = receipt.exec(text)?.[1];
  // Dates that every month has need no look at the calendar.
  return date !== undefined && ((date > '00' && date <= '28') || parseInstant(text) !== undefined);
}

/** The kind and the configured name in an envelope's `source`. */
export function sourceOf({ source }: { readonly source: string }): NamedSource | undefined {
  // It is asked of each record more than once, and one source has many: the last answer is remembered.
  if (source !== lastSource?.text) lastSource = { text: source, named: readSource(source) };
  return lastSource.named;
}

interface NamedSource {
  readonly kind: 'stripe' | 'events';
  readonly name: string;
}

let lastSource: { readonly text: string; readonly named: NamedSource | undefined } | undefined;

function readSource(source: string): NamedSource | undefined {
  const [empty, kind, name, ...rest] = source.split('/');
  if (empty !== '' || (kind !== 'stripe' && kind !== 'events') || name === undefined || rest.length > 0)
    return undefined;
  return isSourceName(name) ? { kind, name } : undefined;
}

/** An id that can stand on a line of its own in `ids.gz`: 1–255 characters, none a control character. */
export function isEventId(id: string): boolean {
  const isShort = id.length <= 255 || (id.length <= 510 && [...id].length <= 255);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  return id.length > 0 && isShort && !/[\u0000-\u001f\u007f-\u009f]/.test(id) && id.isWellFormed();
}

/**
 * What decides the partition: the object that an event is about, else its id, so that one event's copies share a
 * partition. Kinesis takes at most 256 characters, hence the SHA-256 of a long id.
 */
export function partitionKeyOf(id: string, objectId?: unknown): string {
  if (typeof objectId === 'string' && objectId.length >= 1 && objectId.length <= 128) return objectId;
  return id.length <= 128 ? id : createHash('sha256').update(id).digest('hex');
}
