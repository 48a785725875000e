/**
 * The library that makes and opens the headers of age files. Loaded by whoever first seals, opens, or reads a key: with its
 * curves it takes longer to load than all that a night without events needs.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

export function ageLibrary(): typeof import('age-encryption') {
  return require('age-encryption');
}
