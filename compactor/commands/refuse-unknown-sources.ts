/** A mistyped source is refused, rather than shown to have nothing. */
import { configuredSources } from '../configuration.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { unknownSource } from '../ledger/unknown-source.ts';

/** @throws DaybookError `usage` where neither the archive nor DAYBOOK_SOURCES, where that is set, know one */
export function refuseUnknownSources(asked: readonly string[], ledger: Pick<Ledger, 'sources'>): void {
  const unknown = asked.filter((source) => !ledger.sources.has(source));
  if (unknown.length === 0) return;
  const configured = configuredSources();
  const none = unknown.find((source) => !configured.includes(source));
  if (none !== undefined) throw unknownSource(none, ledger);
}
