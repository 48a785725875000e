/**
 * Keeps V8's heap near what lives in it. A night, and a spool that drains, make much garbage that dies young; left to
 * itself V8 lets both generations grow, which adds half to the peak or doubles it (measured by test/bench/compact.ts and
 * test/bench/spool.ts).
 */
import { setFlagsFromString } from 'node:v8';

/**
 * For a program that does nothing but its one job. To be called before all that is large is loaded. Not for a server: with
 * Kafka the slowly growing old generation costs ingest half as much CPU time again (measured by test/bench/ingest.ts).
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=80');
  // Lines and other small buffers are cut from pools: of the 8 KiB that Node takes, each would hold three.
  Buffer.poolSize = 256 * 1024;
  keepYoungGenerationAsItIs();
}

/**
 * It begins with 1 MiB, which costs a server a fifth more CPU time than the 16 MiB that it would get. Called once the
 * program is loaded it costs nothing that could be measured, and with Kafka it saves some.
 */
export function keepYoungGenerationAsItIs(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
