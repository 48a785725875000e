/** The keys of a night: who signs, whose signatures count, who can open what is sealed, and who can get at their files. */
import { existsSync, statSync } from 'node:fs';
import { postQuantumRecipient, type Recipients, taggedRecipient } from '../../shared/crypto/recipients.ts';
import { kmsKeyOf, type VerifyingKeys } from '../../shared/crypto/signing.ts';
import { checkSecretFiles, type SecretFile } from '../../shared/doctor/check-files.ts';
import { counted, type Found, ok, problemOf, warning } from '../../shared/doctor/finding.ts';
import { type DoctorConfiguration, openSigner } from '../configuration.ts';

/** What the check of the keys has found out, for those after it. */
export interface SignerSeen {
  signerId?: string;
}

async function signOnce(setting: string, keys: VerifyingKeys, seen: SignerSeen): Promise<Found> {
  try {
    const { keyId, sign } = await openSigner(setting, keys);
    seen.signerId = keyId;
    await sign(Buffer.from('daybook doctor'));
    return ok(`manifests are signed by the Ed25519 key ${keyId}, which is in a KMS, and signs`);
  } catch (error) {
    return problemOf(error);
  }
}

/** What is wrong with a key itself is a finding of the configuration. */
export async function checkKeys(configuration: DoctorConfiguration, seen: SignerSeen): Promise<Found[]> {
  const { settings, signer, verifyingKeys, recipients, secretFiles, publicFiles } = configuration;
  const found: Found[] = [];
  if (signer !== undefined) found.push(ok(`manifests are signed by the Ed25519 key ${signer.keyId}`));
  else if (settings.COMPACTOR_SIGNING_KEY !== undefined && kmsKeyOf(settings.COMPACTOR_SIGNING_KEY) !== undefined) {
    found.push(await signOnce(settings.COMPACTOR_SIGNING_KEY, verifyingKeys, seen));
  }
  const others = [...verifyingKeys.keys()].filter((id) => id !== (signer?.keyId ?? seen.signerId));
  if (others.length > 0) found.push(ok(`signatures of ${others.join(', ')} count, too`));
  if (recipients.length > 0) found.push(ok(`what is archived can be opened by ${describeRecipients(recipients)}`));
  return [...found, ...checkSecretFiles(secretFiles), ...publicFiles.flatMap(checkPublicFile)];
}

function describeRecipients(recipients: Recipients): string {
  const texts = recipients.filter((recipient) => typeof recipient === 'string');
  const tagged = texts.filter((text) => taggedRecipient.test(text)).length;
  const strong = texts.filter((text) => postQuantumRecipient.test(text) && !taggedRecipient.test(text)).length;
  const [native, rsa] = [texts.length - strong - tagged, recipients.length - texts.length];
  const kinds = [
    native === 0 ? undefined : counted(native, 'X25519 key'),
    strong === 0 ? undefined : `${counted(strong, 'post-quantum key')} (age 1.3 or newer alone)`,
    tagged === 0 ? undefined : `${counted(tagged, 'key')} in hardware (age and its plugin)`,
    rsa === 0 ? undefined : counted(rsa, 'RSA key'),
  ];
  return kinds.filter((kind) => kind !== undefined).join(' and ');
}

function checkPublicFile({ name, path }: SecretFile): Found[] {
  if (!existsSync(path) || (statSync(path).mode & 0o002) === 0) return [];
  const may = name === 'COMPACTOR_RECIPIENTS' ? 'add a recipient of their own, and read' : 'add a key of their own';
  return [warning(`${name}: anybody on this machine can change the file, and ${may}`, `chmod o-w ${path}`)];
}
