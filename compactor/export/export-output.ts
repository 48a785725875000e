/** Where an export's lines go: each becomes a row of the file that is written. */
import type { Identities } from '../../shared/crypto/identities.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { RestoreOutput } from '../restore/restore-archive.ts';
import { eventRow } from './event-row.ts';
import type { RowWriter } from './row-writer.ts';
import { type Ways, waysOf } from './ways.ts';

export function openExportOutput(
  {
    store,
    ledger,
    identities,
  }: { readonly store: ObjectStore; readonly ledger: Ledger; readonly identities: Identities },
  rows: RowWriter,
): RestoreOutput {
  let ways: Ways;
  return {
    async begin(part) {
      ways = await waysOf(store, part, identities, (key) => ledger.pruned.has(key));
    },
    async write(lines, source) {
      for (let start = 0, end = 0; start < lines.length; start = end + 1) {
        end = lines.indexOf(0x0a, start);
        // A copy: rows are kept, and the lines' memory is used again.
        const written = rows.write(eventRow(source, Buffer.from(lines.subarray(start, end)), ways));
        if (written !== undefined) await written;
      }
    },
  };
}
