import { setFlagsFromString } from 'node:v8';

/**
 * Keeps V8's heap near what lives in it. A night, and a spool that drains, make much garbage that dies young; left to
 * itself V8 lets both generations grow, which adds half to the peak or doubles it, and saves no CPU time (measured by
 * test/bench/compact.ts and test/bench/spool.ts).
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=50');
}
