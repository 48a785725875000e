/** The one line that stands for an event in the archive. */
import { canonicalBytes } from '../../shared/json/canonical-json.ts';
import type { StagedCopy } from '../staging/staged-copy.ts';

/**
 * The archive line: a Stripe event as it is, any other as the CloudEvent around it, both canonical.
 * `receipt` stands for a time that was not claimed.
 */
export function archiveLine(copy: StagedCopy, receipt: string | undefined): Buffer {
  const data = canonicalBytes(copy.body);
  if (copy.kind === 'stripe') return data;
  const { id, source, subject, time, type } = copy.header();
  const claimed = time ?? receipt;
  const member = (name: string, value: string | undefined) =>
    value === undefined ? '' : `,"${name}":${JSON.stringify(value)}`;
  return Buffer.concat([
    Buffer.from('{"data":'),
    data,
    Buffer.from(
      `,"datacontenttype":"application/json","id":${JSON.stringify(id)}${member('source', source)},"specversion":"1.0"${member('subject', subject)}${member('time', claimed)}${member('type', type)}}`,
    ),
  ]);
}
