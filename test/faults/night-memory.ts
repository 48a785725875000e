/** Preloaded into a compactor (`node --import`): prints its peak resident memory in bytes to stderr at the end. */
process.on('exit', () => process.stderr.write(`peak memory: ${process.resourceUsage().maxRSS * 1024}\n`));
