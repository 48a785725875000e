/**
 * THE PATH of anchoring: the newest manifest is shown to witnesses outside, so that its end cannot be cut off unseen. Since
 * each manifest holds the hash of the one before it, and a checkpoint those of all, the newest stands for all: what was not
 * witnessed while somebody was away is so with the next one.
 *
 *   <prefix>anchors/<n, eight digits>.tsr               the answer of a time stamp authority, as it came
 *   <prefix>anchors/<n>-<id of the key>.checkpoint      the checkpoint of n manifests, with this witness's signature
 *   <prefix>anchors/tile/<level>/<index>[.p/<width>]    the tree's tiles
 * Created, never overwritten, and named by no manifest.
 */
import { encodeNoteKey, type NoteKey, noteAlgorithms } from '../../shared/crypto/note-key.ts';
import type { Signer } from '../../shared/crypto/signing.ts';
import { DaybookError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import { type Answer, ask } from '../../shared/http/ask.ts';
import { bodyOf, type ObjectStore, readWhole } from '../../shared/store/store.ts';
import type { Ledger, NumberedManifest } from '../ledger/ledger.ts';
import { anchorsFolder, manifestKey, readManifest } from '../ledger/manifest.ts';
import type { Problem } from '../night.ts';
import { readCheckpoint, signCheckpoint, witnessedAt } from './checkpoint.ts';
import { isTimestampOf, makeTimestampQuery, readTimestamp } from './timestamp.ts';
import { consistencyProof, type Hash, leafHash, rootOf, tilesOf } from './tree.ts';

/** Whom to believe, and where to ask: without a URL nobody is asked any more. */
export interface Witnesses {
  /** `roots`: PEM certificates, those of past authorities too. */
  readonly timestamps?: { readonly url?: string | undefined; readonly roots: string } | undefined;
  readonly log?:
    | {
        /** What the archive is called among witnesses: one of many that they know. */
        readonly origin: string;
        readonly witnesses: readonly { readonly url?: string | undefined; readonly key: NoteKey }[];
      }
    | undefined;
}

export interface Anchoring {
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly signer: Signer;
  readonly witnesses: Witnesses;
  /** The ledger as it is now: another run may have gone on with it. */
  loadLedger(): Promise<Ledger>;
}

export const maxAnchorBytes = 1024 * 1024;
const limitMs = 10_000;

export interface Anchored {
  readonly errors: Problem[];
  readonly warnings: Problem[];
  /** Each that was asked; `code`: why it has not seen the newest manifest, null where it has. */
  readonly witnesses: { readonly witness: string; readonly code: ErrorCode | null }[];
}

/** Never rejects: a witness that is away is told as a warning, one that knows another history as an error. */
export async function anchorLedger(anchoring: Anchoring, ledger: Ledger): Promise<Anchored> {
  const { witnesses } = anchoring;
  const { head } = ledger;
  const found: Anchored = { errors: [], warnings: [], witnesses: [] };
  if (head === undefined) return found;
  const told = async (witness: string, url: string, work: () => Promise<void>) => {
    try {
      await work();
      found.witnesses.push({ witness, code: null });
    } catch (error) {
      const isContradicted = error instanceof DaybookError && error.code === 'anchor_contradicted';
      const code = isContradicted ? 'anchor_contradicted' : 'anchor_pending';
      found.witnesses.push({ witness, code });
      const message = `manifest ${head.number}, ${hostOf(url)}: ${messageOf(error)}`;
      found[isContradicted ? 'errors' : 'warnings'].push({ code, source: null, day: null, message });
    }
  };
  const { url, roots = '' } = witnesses.timestamps ?? {};
  if (url !== undefined) await told(hostOf(url), url, () => keepTimestamp(anchoring, head, url, roots));
  for (const { url, key } of witnesses.log?.witnesses ?? []) {
    if (url === undefined) continue;
    await told(key.name, url, () =>
      keepCheckpoint(anchoring, ledger, head, { origin: witnesses.log!.origin, url, key }),
    );
  }
  return found;
}

async function keepTimestamp(
  anchoring: Anchoring,
  { number }: NumberedManifest,
  url: string,
  roots: string,
): Promise<void> {
  const { store, prefix } = anchoring;
  const folder = `${prefix}${anchorsFolder}`;
  const key = `${folder}${digits(number)}.tsr`;
  // An authority remembers nothing: what it has seen is told by its time stamps, also of manifests that are gone.
  const last = await lastKept(store, folder, '.tsr');
  if (last > number) {
    // The other run has it witnessed.
    if ((await anchoring.loadLedger()).hashes.length >= last) return;
    throw contradicted(`has seen manifest ${last}, and there are ${number}: the newest were deleted`);
  }
  const manifest = await readManifest(store, manifestKey(prefix, number));
  if (last === number) {
    if (await isTimestampOf(await readWhole(store, key, maxAnchorBytes), manifest)) return;
    throw contradicted(`has seen another manifest ${number}`);
  }
  const body = await askTimestamp(url, manifest, roots);
  // Dies here: the next run asks again. Where another one kept its own meanwhile, that holds as well.
  await store.create(key, bodyOf(body));
}

/** A time stamp of these bytes, as it came. What would not hold later is none: rejects. */
export async function askTimestamp(url: string, manifest: Uint8Array, roots: string): Promise<Buffer> {
  const query = await makeTimestampQuery(manifest);
  const headers = { 'content-type': 'application/timestamp-query' };
  const { status, body } = await ask(url, { body: query.bytes, headers, limitMs, maxBytes: maxAnchorBytes });
  if (status !== 200) throw new Error(`HTTP ${status}`);
  await readTimestamp(body, manifest, roots, query.nonce);
  return body;
}

/** Rejects where what answers is not a witness: nothing is shown to it that it could remember. */
export async function askWhetherWitness(url: string): Promise<void> {
  const { status } = await ask(addCheckpointAt(url), { body: Buffer.alloc(0), limitMs, maxBytes: maxAnchorBytes });
  // Of a request that is malformed, as the specification has it.
  if (status !== 400) throw new Error(`HTTP ${status}, not the 400 of a witness`);
}

/** What a time stamp authority is called. */
export function hostOf(url: string): string {
  return new URL(url).host;
}

interface Asked {
  readonly origin: string;
  readonly url: string;
  readonly key: NoteKey;
}

async function keepCheckpoint(
  anchoring: Anchoring,
  ledger: Ledger,
  { number }: NumberedManifest,
  asked: Asked,
): Promise<void> {
  const { store, prefix, signer } = anchoring;
  const folder = `${prefix}${anchorsFolder}`;
  const key = `${folder}${digits(number)}-${asked.key.id}.checkpoint`;
  // Asked also where its word on this manifest is kept: it remembers what was cut off together with the anchors.
  const leaves = ledger.hashes.map(leafHash);
  const note = await signCheckpoint(asked.origin, number, rootOf(leaves), signer);
  const answer = await addCheckpoint(
    asked,
    leaves,
    note,
    await lastKept(store, folder, `-${asked.key.id}.checkpoint`),
    signer,
  );
  if (typeof answer === 'number') {
    // The other run has it witnessed.
    if ((await anchoring.loadLedger()).hashes.length >= answer) return;
    throw contradicted(`has seen ${answer} manifests, and there are ${number}: the newest were deleted`);
  }
  const cosigned = `${note}${answer}`;
  if (witnessedAt(readCheckpoint(cosigned), asked.key) === undefined) {
    throw new DaybookError('anchor_wrong', { detail: 'the witness answers with a signature that does not hold' });
  }
  for (const { path, bytes } of tilesOf(leaves)) await store.create(`${folder}${path}`, bodyOf(bytes));
  // Dies here: tiles that no checkpoint is of are as right as the others.
  await store.create(key, bodyOf(Buffer.from(cosigned)));
}

/**
 * c2sp.org/tlog-witness, add-checkpoint. Resolves with the witness's signature lines, or with the size that it has seen
 * where that is larger. `from`: the size that it is thought to have seen.
 */
async function addCheckpoint(
  { url, origin }: Asked,
  leaves: readonly Hash[],
  note: string,
  from: number,
  signer: Signer,
): Promise<string | number> {
  const post = (size: number): Promise<Answer> => {
    const proof = consistencyProof(leaves, size).map((hash) => `${hash.toString('base64')}\n`);
    const body = Buffer.from(`old ${size}\n${proof.join('')}\n${note}`);
    return ask(addCheckpointAt(url), { body, limitMs, maxBytes: maxAnchorBytes });
  };
  let size = Math.min(from, leaves.length);
  let answer = await post(size);
  if (answer.status === 409) {
    const seen = /^(\d{1,9})\n?$/.exec(answer.body.toString())?.[1];
    if (seen === undefined) throw contradicted('has seen another tree of this size');
    if (Number(seen) > leaves.length) return Number(seen);
    if (Number(seen) === size) throw contradicted(`has seen other ${size} manifests`);
    size = Number(seen);
    answer = await post(size);
  }
  const text = answer.body.toString();
  if (answer.status === 200) return text;
  if (answer.status === 422) throw contradicted(`has seen ${size} manifests with which these do not begin`);
  const { text: logKey } = encodeNoteKey(origin, noteAlgorithms.ed25519, signer.publicKey);
  const unknown = answer.status === 404 || answer.status === 403;
  throw new Error(
    `HTTP ${answer.status}${unknown ? `: let the witness's operator add the log with the key ${logKey}` : ''}`,
  );
}

function addCheckpointAt(url: string): string {
  return `${url.replace(/\/$/, '')}/add-checkpoint`;
}

/** The number of the newest manifest that has an anchor whose name ends so; 0: none has. */
async function lastKept(store: ObjectStore, folder: string, ending: string): Promise<number> {
  let last = 0;
  for await (const key of store.list(folder)) {
    const name = key.slice(folder.length);
    if (/^\d{8}$/.test(name.slice(0, 8)) && name.slice(8) === ending) last = Math.max(last, Number(name.slice(0, 8)));
  }
  return last;
}

function contradicted(detail: string): DaybookError {
  return new DaybookError('anchor_contradicted', { detail: `the witness ${detail}` });
}

function digits(number: number): string {
  return String(number).padStart(8, '0');
}
