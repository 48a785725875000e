/** Waits for work no longer than a limit. The work itself goes on: what it does later is nobody's concern. */
export async function withTimeLimit<T>(
  limitMs: number,
  work: Promise<T>,
  tooLate: () => Error = () => new Error(`no answer in ${limitMs} ms`),
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooLate()), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
