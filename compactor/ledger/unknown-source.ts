/** A source that was asked for and is not there, as each command says it. */
import { DaybookError } from '../../shared/errors.ts';
import type { Ledger } from './ledger.ts';

/** `usage`, with the sources that the archive has. */
export function unknownSource(source: string, { sources }: Pick<Ledger, 'sources'>): DaybookError {
  const known = [...sources.keys()].sort().join(', ');
  return new DaybookError('usage', { detail: `the archive has no source ${source}; it has: ${known || 'none'}` });
}
