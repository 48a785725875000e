/**
 * Slows down whoever guesses passwords: an address that failed three times waits, each time twice as long, a minute at most.
 * It is counted before the password is looked at, so that many tries at once are slowed down as well.
 */
import { isIPv6 } from 'node:net';
import type { Clock } from '../../shared/clock.ts';

/** Who failed longest ago is forgotten where more fail. */
const maxAddresses = 1_000;
const freeTries = 3;
const maxWaitMs = 60_000;
/** Without a try. */
const forgetAfterMs = 3_600_000;

export interface LoginPace {
  /** Counts a try; the milliseconds to wait where it comes too early, and then it does not count. */
  begin(address: string): number;
  /** The password was right: nothing is held against the address. */
  succeeded(address: string): void;
}

export function openLoginPace(clock: Clock): LoginPace {
  const tries = new Map<string, { count: number; atMs: number }>();

  function begin(address: string): number {
    const name = networkOf(address);
    const nowMs = clock.now().getTime();
    const before = tries.get(name);
    const isKept = before !== undefined && nowMs - before.atMs < forgetAfterMs;
    const count = isKept ? before.count : 0;
    if (isKept) {
      const waitMs = before.atMs + waitAfter(count) - nowMs;
      if (waitMs > 0) return waitMs;
    }
    // Last in the order of the map: the first is the one to forget.
    tries.delete(name);
    tries.set(name, { count: count + 1, atMs: nowMs });
    if (tries.size > maxAddresses) tries.delete(tries.keys().next().value!);
    return 0;
  }

  return { begin, succeeded: (address) => void tries.delete(networkOf(address)) };
}

function waitAfter(count: number): number {
  return count < freeTries ? 0 : Math.min(1000 * 2 ** (count - freeTries), maxWaitMs);
}

/** Of an IPv6 address its /64, which one machine has for itself. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+(?:\.\d+){3})$/i.exec(address)?.[1];
  if (mapped !== undefined || !isIPv6(address)) return mapped ?? address;
  const [head = '', tail] = address.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  return [...first, ...Array<string>(zeros).fill('0'), ...last].slice(0, 4).join(':');
}
