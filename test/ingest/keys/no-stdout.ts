/** Preloaded (`node --import`): stdout takes nothing, as one that is a file on a full disk. */
process.stdout.write = ((_chunk: unknown, encoding: unknown, done: unknown) => {
  const callback = (typeof encoding === 'function' ? encoding : done) as ((error: Error) => void) | undefined;
  setImmediate(() => callback?.(Object.assign(new Error('full'), { code: 'ENOSPC' })));
  return true;
}) as typeof process.stdout.write;
