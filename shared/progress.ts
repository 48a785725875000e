import type { Logger } from './log.ts';

const terminalEveryMs = 200;
const logEveryMs = 10_000;

/** Says how far long work is: one line that is written over on a terminal, a log line now and then elsewhere. */
export function openProgress(log: Logger): { progress(step: string, count: number): void; done(): void } {
  const isTerminal = process.stderr.isTTY === true;
  let saidAtMs = performance.now();
  let isShown = false;
  return {
    progress(step, count) {
      const nowMs = performance.now();
      if (nowMs - saidAtMs < (isTerminal ? terminalEveryMs : logEveryMs)) return;
      saidAtMs = nowMs;
      if (isTerminal) process.stderr.write(`\r\u001b[K${step}: ${count.toLocaleString('en')}`);
      else log.info({ step, count }, 'in progress');
      isShown = isTerminal;
    },
    done() {
      if (isShown) process.stderr.write('\r\u001b[K');
      isShown = false;
    },
  };
}
