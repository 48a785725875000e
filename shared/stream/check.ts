/** The stream of DAYBOOK_STREAM, as its driver sees it when it opens it. Makes nothing and writes nothing. */
import { unsealedWarning } from '../crypto/stream-seal.ts';
import { warning } from '../doctor/finding.ts';
import type { StreamFindings } from './driver.ts';
import { checkDriver, isLocalStream } from './open.ts';
import type { StreamConfiguration } from './streams.ts';

/** Rejects with what keeps the stream from being used. */
export async function checkStream(
  stream: StreamConfiguration,
  dataDirectory: string,
  isSealed: boolean,
): Promise<StreamFindings> {
  const { found, ...rest } = await checkDriver(stream, dataDirectory);
  const hint =
    'Set it for ingest and the compactor: openssl rand -hex 32 makes one. See compactor/README.md, Who may write to the stream.';
  return {
    ...rest,
    found: isSealed || isLocalStream(stream) ? found : [...found, warning(unsealedWarning, hint)],
  };
}
