/**
 * Time stamps (RFC 3161): an authority signs the SHA-256 of a manifest's object and the time. Kept as it answered, which is
 * what `openssl ts -verify -in anchors/<n>.tsr -data manifests/<n>.jsonl -CAfile roots.pem` takes.
 */
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import type { TSTInfo } from 'pkijs';
import { DaybookError, messageOf } from '../../shared/errors.ts';

const sha256Oid = '2.16.840.1.101.3.4.2.1';
/** id-kp-timeStamping: without it, any certificate of the roots could tell a time. */
const timeStamping = '1.3.6.1.5.5.7.3.8';
const extendedKeyUsage = '2.5.29.37';

export interface TimestampQuery {
  /** DER of a TimeStampReq. */
  readonly bytes: Buffer;
  readonly nonce: Buffer;
}

export interface Timestamp {
  readonly at: Date;
  /** Who signed, by the common name of the certificate. */
  readonly by: string;
}

export async function makeTimestampQuery(manifest: Uint8Array): Promise<TimestampQuery> {
  const [pkijs, asn1js] = await libraries();
  // A positive number of 8 bytes.
  const nonce = Buffer.concat([Buffer.of(1), randomBytes(7)]);
  const request = new pkijs.TimeStampReq({
    version: 1,
    messageImprint: new pkijs.MessageImprint({
      hashAlgorithm: new pkijs.AlgorithmIdentifier({ algorithmId: sha256Oid }),
      hashedMessage: new asn1js.OctetString({ valueHex: plain(createHash('sha256').update(manifest).digest()) }),
    }),
    nonce: new asn1js.Integer({ valueHex: plain(nonce) }),
    certReq: true,
  });
  return { bytes: Buffer.from(request.toSchema().toBER()), nonce };
}

/**
 * What an authority's answer says of this manifest, at the time that it names itself: certificates end, and a time stamp
 * made before that stays one. `roots`: PEM certificates. `nonce`: of the query that it answers; undefined: any.
 * @throws DaybookError `anchor_wrong`
 */
export async function readTimestamp(
  answer: Uint8Array,
  manifest: Uint8Array,
  roots: string,
  nonce?: Buffer,
): Promise<Timestamp> {
  const [pkijs] = await libraries();
  try {
    const { signed, info } = await open(answer);
    if (!isOf(info, manifest)) throw wrong('is of other bytes than the manifest has');
    if (nonce !== undefined && !nonce.equals(Buffer.from(info.nonce?.valueBlock.valueHexView ?? []))) {
      throw wrong('answers another query');
    }
    const { signerCertificate, signatureVerified } = await signed.verify({
      signer: 0,
      data: plain(manifest),
      trustedCerts: certificatesOf(roots).map((der) => pkijs.Certificate.fromBER(plain(der))),
      checkDate: info.genTime,
      checkChain: true,
      extendedMode: true,
    });
    if (signatureVerified !== true) throw wrong('does not hold: its signature is not that of its certificate');
    const usage = signerCertificate?.extensions?.find(({ extnID }) => extnID === extendedKeyUsage)?.parsedValue;
    if (signerCertificate == null || !usage?.keyPurposes?.includes(timeStamping)) {
      throw wrong('is signed by a certificate that is not one for time stamps');
    }
    const der = Buffer.from(signerCertificate.toSchema().toBER());
    return { at: info.genTime, by: new X509Certificate(der).subject.replace(/^(?:.*\n)?CN=/s, '').split('\n')[0]! };
  } catch (error) {
    if (error instanceof DaybookError) throw error;
    throw wrong(`does not hold: ${messageOf(error) || 'no certificate of the roots signed it'}`);
  }
}

/** Whether an answer that was kept is of these bytes, by its own word: no signature is looked at. Rejects where it is no time stamp. */
export async function isTimestampOf(answer: Uint8Array, manifest: Uint8Array): Promise<boolean> {
  return isOf((await open(answer)).info, manifest);
}

async function open(answer: Uint8Array) {
  const [pkijs] = await libraries();
  const { status, timeStampToken } = pkijs.TimeStampResp.fromBER(plain(answer));
  if (status.status > 1 || timeStampToken === undefined) {
    throw wrong(
      `is a refusal: ${status.statusStrings?.map(({ valueBlock }) => valueBlock.value).join(', ') ?? status.status}`,
    );
  }
  const signed = new pkijs.SignedData({ schema: timeStampToken.content });
  if (signed.encapContentInfo.eContentType !== pkijs.id_eContentType_TSTInfo) throw wrong('is not a time stamp');
  const info = pkijs.TSTInfo.fromBER(
    plain(Buffer.from(signed.encapContentInfo.eContent?.getValue() ?? new ArrayBuffer(0))),
  );
  return { signed, info };
}

function isOf({ messageImprint }: Pick<TSTInfo, 'messageImprint'>, manifest: Uint8Array): boolean {
  const { hashAlgorithm, hashedMessage } = messageImprint;
  const sha256 = createHash('sha256').update(manifest).digest();
  return hashAlgorithm.algorithmId === sha256Oid && sha256.equals(Buffer.from(hashedMessage.getValue()));
}

/** Not at import: it is not small, and most commands have no need of it. */
function libraries() {
  return Promise.all([import('pkijs'), import('asn1js')]);
}

function certificatesOf(pems: string): Buffer[] {
  const blocks = pems.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((pem) => new X509Certificate(pem).raw);
}

/** A buffer of its own: Node's share theirs. */
function plain(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}

function wrong(detail: string): DaybookError {
  return new DaybookError('anchor_wrong', { detail });
}
