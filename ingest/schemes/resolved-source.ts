import type { Secret } from '../../shared/schemes/secrets.ts';
import type { Source } from '../../shared/schemes/sources.ts';

/** A source with the secrets that its references stand for. */
export interface ResolvedSource {
  readonly source: Source;
  readonly secrets: readonly Secret[];
}
