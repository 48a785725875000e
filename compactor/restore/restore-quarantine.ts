/** Brings records back out of the quarantine: onto the stream, as they came, for the next night to look at them again. */
import type { Identities } from '../../shared/crypto/identities.ts';
import type { StreamKey } from '../../shared/crypto/stream-seal.ts';
import { partitionKeyOf, readEnvelope, sealAgain } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { deliverBatch } from '../../shared/stream/deliver-batch.ts';
import type { AppendRecord, EventStreamWriter } from '../../shared/stream/stream.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { readPart } from '../objects/read-part.ts';

export interface QuarantineRestore {
  readonly store: ObjectStore;
  readonly ledger: Ledger;
  /** '' or folders that end with a slash. */
  readonly prefix: string;
  /** Object keys, with or without the prefix. */
  readonly objects: readonly string[];
  /** Beginnings of reasons; none: every reason but those of records that somebody else may have written. */
  readonly reasons: readonly string[];
  readonly identities: Identities;
  /** Seals what goes back. */
  readonly streamKey: StreamKey | undefined;
  /** Undefined: a dry run. */
  readonly writer: EventStreamWriter | undefined;
}

export interface QuarantineReport {
  readonly dryRun: boolean;
  /** Records that went back, or would, by their reason. */
  readonly restored: Readonly<Record<string, number>>;
  /** Records that stay, by their reason. */
  readonly left: Readonly<Record<string, number>>;
}

const maxBatchBytes = 1024 * 1024;
/** To bring these back is to say that they are honest, and to seal them: that is to be asked for by name. */
const strangers = ['record_unsealed', 'record_unproven'];

/**
 * A record keeps its bytes, so its receipt and its signature; the seal alone is made again. Records that are not envelopes stay:
 * the next night would put them back. Brought back twice, a record is one, or a late delivery.
 * @throws DaybookError `object_missing` where no manifest names an object of the quarantine so
 */
export async function restoreQuarantine(restore: QuarantineRestore): Promise<QuarantineReport> {
  const { store, ledger, prefix, objects, reasons, identities, streamKey, writer } = restore;
  const named = objects.map((text) => {
    const found = ledger.quarantine.get(text) ?? ledger.quarantine.get(`${prefix}${text}`);
    if (found !== undefined) return found;
    throw new DaybookError('object_missing', { detail: `no manifest names an object of the quarantine ${text}` });
  });
  const restored: Record<string, number> = {};
  const left: Record<string, number> = {};
  let batch: AppendRecord[] = [];
  let bytes = 0;
  const flush = async () => {
    const records = batch;
    batch = [];
    bytes = 0;
    if (records.length === 0 || writer === undefined) return;
    const { refused, failure } = await deliverBatch(records, (some) => writer.append(some));
    // Dies here: they are in the stream and in the quarantine; bringing them back again does no harm.
    if (failure !== undefined) throw failure;
    if (refused.size > 0) throw new DaybookError('stream_unavailable', { detail: [...refused.values()][0]! });
  };
  for (const object of named) {
    for await (const lines of readPart(store, object, identities)) {
      for (const line of lines.toString().trimEnd().split('\n')) {
        const { reason, raw } = JSON.parse(line) as { reason: string; raw: string };
        const envelope = readEnvelope(Buffer.from(raw, 'base64'));
        const isWanted =
          reasons.length > 0
            ? reasons.some((start) => reason.startsWith(start))
            : !strangers.some((start) => reason.startsWith(start));
        const into = isWanted && 'header' in envelope ? restored : left;
        into[reason] = (into[reason] ?? 0) + 1;
        if (into === left || !('header' in envelope)) continue;
        const value = sealAgain(envelope, streamKey);
        batch.push({ key: partitionKeyOf(envelope.header.id), value });
        bytes += value.byteLength;
        if (bytes >= maxBatchBytes) await flush();
      }
    }
  }
  await flush();
  return { dryRun: writer === undefined, restored, left };
}
