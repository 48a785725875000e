import type { Logger } from './log.ts';
import { standardError } from './standard-error.ts';

const terminalEveryMs = 200;
const logEveryMs = 10_000;
const parentEveryMs = 200;
const barCharacters = 20;

export interface Progress {
  /** `total` where it is known: then a bar is shown. */
  progress(step: string, count: number, total?: number): void;
  done(): void;
}

/**
 * Says how far long work is: one line that is written over on a terminal, a log line now and then elsewhere. A process
 * that started this one over IPC is told by messages `{step,count,total}`, `total` null where it is not known.
 */
export function openProgress(log: Logger): Progress {
  const isTerminal = process.stderr.isTTY === true;
  let saidAtMs = performance.now();
  let toldAtMs = Number.NEGATIVE_INFINITY;
  let toldStep: string | undefined;
  let isShown = false;
  return {
    progress(step, count, total) {
      const nowMs = performance.now();
      // A step is told as it begins: its first count may be long in coming.
      if (process.connected && (step !== toldStep || nowMs - toldAtMs >= parentEveryMs)) {
        toldAtMs = nowMs;
        toldStep = step;
        // With a callback, so that a parent that has just gone is not an error here.
        process.send?.({ step, count, total: total ?? null }, undefined, undefined, () => {});
      }
      if (nowMs - saidAtMs < (isTerminal ? terminalEveryMs : logEveryMs)) return;
      saidAtMs = nowMs;
      if (isTerminal) standardError().write(`\r\u001b[K${describe(step, count, total)}`);
      else log.info({ step, count, ...(total === undefined ? {} : { total }) }, 'in progress');
      isShown = isTerminal;
    },
    done() {
      if (isShown) standardError().write('\r\u001b[K');
      isShown = false;
    },
  };
}

function describe(step: string, count: number, total: number | undefined): string {
  const shown = count.toLocaleString('en');
  if (total === undefined || total === 0) return `${step}: ${shown}`;
  const share = Math.min(1, count / total);
  const full = Math.floor(share * barCharacters);
  const bar = `${'#'.repeat(full)}${'.'.repeat(barCharacters - full)}`;
  return `${step}: [${bar}] ${Math.floor(share * 100)} %, ${shown} of ${total.toLocaleString('en')}`;
}
