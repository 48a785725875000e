/** Work on many things at once: so many and no more. */

/** Resolves when all is done. Rejects with the first failure once all that was begun has ended; nothing is begun after it. */
export async function inParallel<T>(
  items: Iterable<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const worker = async () => {
    for (let next = waiting.next(); next.done !== true; next = waiting.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failures.push(error);
      }
      if (failures.length > 0) return;
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  if (failures.length > 0) throw failures[0];
}

/** The results in the order of the items, of which `width` at most are begun ahead. A failure comes in its place. */
export async function* mapAhead<T, Result>(
  items: AsyncIterable<T>,
  width: number,
  work: (item: T) => Promise<Result>,
): AsyncGenerator<{ readonly item: T; readonly result: Result }, void, void> {
  const begun: { item: T; result: Promise<Result> }[] = [];
  const first = async () => {
    const { item, result } = begun.shift()!;
    return { item, result: await result };
  };
  for await (const item of items) {
    const result = work(item);
    // Heard in `first`, if it comes to that: the items may break off before, and that failure is the one to tell.
    result.catch(() => {});
    begun.push({ item, result });
    if (begun.length >= width) yield await first();
  }
  while (begun.length > 0) yield await first();
}
