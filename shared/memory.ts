/**
 * Keeps V8's heap near what lives in it. A night, and a spool that drains, make much garbage that dies young; left to
 * itself V8 lets both generations grow, which adds half to the peak or doubles it (measured by test/bench/compact.ts and
 * test/bench/spool.ts).
 */
import { setFlagsFromString } from 'node:v8';

/** For a program that does nothing else. To be called before all that is large is loaded. */
export function keepHeapSmall(): void {
  growOldGenerationSlowly();
  keepYoungGenerationAsItIs();
}

/** Costs no CPU time that could be measured. To be called before all that is large is loaded. */
export function growOldGenerationSlowly(): void {
  setFlagsFromString('--heap-growing-percent=50');
}

/**
 * It begins with 1 MiB, which costs a server a fifth more CPU time than the 16 MiB that it would get; as it is once the
 * program is loaded it costs 4 % (measured by test/bench/ingest.ts).
 */
export function keepYoungGenerationAsItIs(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
