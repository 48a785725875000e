/**
 * Preloaded into a compactor (`node --import`): ends it with SIGKILL at its n-th call of the file system that creates,
 * writes, links or removes something; KILL_AT is n, KILL_WAY whether before or after the call's effect. Without KILL_AT it
 * prints the number of such calls to stderr at the end: `file system calls: n`.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const at = Number(process.env.KILL_AT ?? Number.NaN);
const isAfter = process.env.KILL_WAY === 'after';
let calls = 0;

function die(): void {
  process.kill(process.pid, 'SIGKILL');
  // The signal may be on its way yet: nothing of this process may happen after it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

type Call = (...parameters: unknown[]) => unknown;

function watch(target: object, names: readonly string[]): void {
  const calling = target as Record<string, Call>;
  for (const name of names) {
    const real = calling[name]!;
    calling[name] = function watched(this: unknown, ...parameters: unknown[]) {
      calls += 1;
      const isLast = calls === at;
      if (isLast && !isAfter) die();
      const result = real.apply(this, parameters);
      if (!isLast) return result;
      if (!(result instanceof Promise)) return die();
      return result.then(die, die);
    };
  }
}

watch(fs, ['mkdirSync', 'openSync', 'writeSync', 'unlinkSync', 'rmSync', 'createWriteStream', 'createReadStream']);
watch(fs.promises, ['mkdir', 'open', 'link', 'rm', 'unlink']);
syncBuiltinESMExports();

if (Number.isNaN(at)) process.on('exit', () => process.stderr.write(`file system calls: ${calls}\n`));
