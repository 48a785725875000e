/**
 * What one night adds to one day: lines, ids, deliveries and late deliveries, gathered in the staging folder while the
 * events are decided, then written to the store.
 */

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Day } from '../../shared/clock.ts';
import type { Recipient } from '../../shared/crypto/recipients.ts';
import { readPlainHeader } from '../../shared/envelope.ts';
import { quotedBetween } from '../../shared/json/quote-json.ts';
import type { EventScope, Mode } from '../../shared/schemes/stripe-scope.ts';
import type { GenerationFailure } from '../../shared/schemes/stripe-thin-events.ts';
import type { DeliveriesObject, Part } from '../ledger/manifest.ts';
import { openSealed, type SealedObject, type Sealing } from '../objects/seal-object.ts';
import { storeObject } from '../objects/store-object.ts';
import type { Sorter } from '../staging/external-sort.ts';
import type { StagedCopy } from '../staging/staged-copy.ts';
import { type Closing, folderOf } from './closing.ts';
import type { DecidedEvent } from './copies.ts';

/** What a night adds to a day, counted. */
export interface DayGain {
  /** New lines that a delivery brought, and all other new lines. */
  delivered: number;
  recovered: number;
  /** Delivery lines, late ones included. */
  deliveryLines: number;
  differing: number;
  readonly accounts: Iterable<string>;
  /** A delivered Stripe event names no account. */
  ownAccount: boolean;
  readonly modes: Iterable<Mode>;
  readonly generationFailures: readonly GenerationFailure[];
}

export interface DayOutput extends DayGain {
  readonly day: Day;
  add(event: DecidedEvent): Promise<void>;
  /** Writes the objects; undefined where there are none: copies of archived events that nobody delivered bring nothing. */
  seal(): Promise<DayObjects | undefined>;
  /** Removes what lies in the staging folder. */
  discard(): Promise<void>;
}

export interface DayObjects {
  readonly parts: readonly Part[];
  readonly lateDeliveries: readonly DeliveriesObject[];
}

/** Instants before 1970 are quarantined, so sixteen digits order them all. */
const instantDigits = 16;

export function openDayOutput({ night, name, staged, budget, isPruned }: Closing, day: Day): DayOutput {
  const { stagingDirectory: directory, recipients, store } = night;
  let lines: Sorter | undefined;
  const open: Partial<Record<'ids' | 'deliveries' | 'late', Sealing>> = {};

  const sealing = (what: keyof typeof open): Sealing => {
    const known = open[what];
    if (known !== undefined) return known;
    const path = join(directory, `${day}-${what}-${randomBytes(6).toString('hex')}`);
    const opened = openSealed({ path, recipients: what === 'ids' ? 'plain' : recipients });
    open[what] = opened;
    return opened;
  };

  const known = { accounts: new Set<string>(), modes: new Set<Mode>(), generationFailures: [] as GenerationFailure[] };
  const noteScope = ({ accounts, mode }: EventScope) => {
    for (const account of accounts) known.accounts.add(account);
    output.ownAccount ||= accounts.length === 0;
    if (mode !== undefined) known.modes.add(mode);
  };

  const output: DayOutput = {
    day,
    delivered: 0,
    recovered: 0,
    deliveryLines: 0,
    differing: 0,
    ownAccount: false,
    ...known,

    async add(event) {
      const { line } = event;
      if (line !== undefined) {
        lines ??= budget.sorter();
        lines.add(String(line.instantMs).padStart(instantDigits, '0') + event.idKey, [line.bytes]);
        const full = sealing('ids').write(event.id);
        if (full !== undefined) await full;
        if (line.delivered) output.delivered += 1;
        else output.recovered += 1;
      }
      if (event.differs) output.differing += 1;
      for (const copy of event.deliveries()) {
        const full = sealing(line === undefined ? 'late' : 'deliveries').write(deliveryLine(copy));
        if (full !== undefined) await full;
        output.deliveryLines += 1;
        if (copy.scope !== undefined) noteScope(copy.scope);
      }
      const failure = staged.generationFailures.get(event.id);
      if (failure !== undefined) known.generationFailures.push(failure);
    },

    async seal() {
      const stem = `${folderOf(night, name, day)}/${day}-`;
      const finish = async (what: keyof typeof open): Promise<SealedObject | undefined> => {
        const sealed = await open[what]?.finish();
        delete open[what];
        return sealed;
      };
      const sealDeliveries = async (what: 'deliveries' | 'late'): Promise<DeliveriesObject | null> => {
        const sealed = await finish(what);
        if (sealed === undefined) return null;
        const key = await storeObject(store, stem, '.deliveries.jsonl.gz.age', sealed, isPruned);
        return { key, sha256: sealed.sha256, count: sealed.lines };
      };
      const parts: Part[] = [];
      if (lines !== undefined) {
        const path = join(directory, `${day}-part-${randomBytes(6).toString('hex')}`);
        const { sealed, first, last } = await sealLines(lines, path, recipients);
        lines = undefined;
        const key = await storeObject(store, stem, '.jsonl.gz.age', sealed, isPruned);
        const ids = (await finish('ids'))!;
        const idsKey = await storeObject(store, stem, '.ids.gz', ids, isPruned);
        parts.push({
          key,
          events: sealed.lines,
          firstCreated: first,
          lastCreated: last,
          bytes: sealed.bytes,
          sha256: sealed.sha256,
          ids: { key: idsKey, sha256: ids.sha256.ciphertext },
          deliveries: await sealDeliveries('deliveries'),
          ...(night.crew === undefined ? {} : { share: [night.crew.index, night.crew.count] }),
        });
      }
      const late = await sealDeliveries('late');
      const lateDeliveries = late === null ? [] : [late];
      return parts.length + lateDeliveries.length === 0 ? undefined : { parts, lateDeliveries };
    },

    async discard() {
      lines?.close();
      lines = undefined;
      for (const sealed of Object.values(open)) await sealed?.abort();
    },
  };
  return output;
}

async function sealLines(
  lines: Sorter,
  path: string,
  recipients: readonly Recipient[],
): Promise<{ sealed: SealedObject; first: string; last: string }> {
  const part = openSealed({ path, recipients });
  let firstKey: string | undefined;
  let lastKey = '';
  try {
    for (const { key, payload } of lines.sorted()) {
      firstKey ??= key;
      lastKey = key;
      const full = part.write(payload);
      if (full !== undefined) await full;
    }
  } catch (error) {
    await part.abort();
    throw error;
  } finally {
    lines.close();
  }
  const instant = (key: string) => new Date(Number(key.slice(0, instantDigits))).toISOString();
  return { sealed: await part.finish(), first: instant(firstKey!), last: instant(lastKey) };
}

/**
 * One line of evidence: who holds the secret can check the signature again (FORMAT.md, Deliveries). Bytes handed out are
 * overwritten by the next call.
 */
function deliveryLine(copy: StagedCopy): Buffer | string {
  const start = `${startOfLine(copy)},"body":`;
  return (
    quotedBetween(start, copy.body, '}') ?? `${Buffer.from(start, 'latin1')}${JSON.stringify(copy.body.toString())}}`
  );
}

/** The members before the body, without the brace that would close them: UTF-8, a character a byte. */
function startOfLine(copy: StagedCopy): string {
  const plain = readPlainHeader(copy.headerBytes);
  if (plain !== undefined) {
    const { id, receivedat, via, scheme, keyid, signedheaders, path } = plain;
    const optional = `${member('keyid', keyid)}${member('signedheaders', signedheaders)}${member('path', path)}`;
    return `{"id":"${id}","receivedat":"${receivedat}","via":"${via}","scheme":"${scheme}"${optional}`;
  }
  const { id, receivedat, via, scheme, keyid, signedheaders, path } = copy.header();
  const members = JSON.stringify({ id, receivedat, via, scheme, keyid, signedheaders, path });
  return Buffer.from(members.slice(0, -1)).toString('latin1');
}

/** One whose value needs no escapes. */
function member(name: string, value: string | undefined): string {
  return value === undefined ? '' : `,"${name}":"${value}"`;
}
