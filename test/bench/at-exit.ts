/** Preloaded into a program that is measured (`node --import`): writes what its whole life took to the file of BENCH_MEASURED. */
import { readFileSync, writeFileSync } from 'node:fs';

process.on('exit', () => {
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  // Of this program alone: `maxRSS` of a fresh process begins at what its parent had.
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  const measured = { cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakMegabytes: Number(peak) / 1024 };
  writeFileSync(process.env.BENCH_MEASURED!, JSON.stringify(measured));
});
