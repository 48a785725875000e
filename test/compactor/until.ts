import { setTimeout as rest } from 'node:timers/promises';

/** Waits until something is there, which is looked for every 10 ms; rejects after `limitMs`. */
export async function until<T>(look: () => T | undefined | Promise<T | undefined>, limitMs = 30_000): Promise<T> {
  const deadlineMs = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadlineMs) throw new Error(`waited ${limitMs} ms in vain for ${look}`);
    await rest(10);
  }
}
