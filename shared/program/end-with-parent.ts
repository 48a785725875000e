/**
 * Ties a program to the one that started it over IPC, as `serve` starts jobs and `npm start` both programs: where that one
 * is gone, however it ended, this one ends as at SIGTERM. A program that nobody started over IPC is left alone.
 */
export function endWithParent(): void {
  if (process.channel === undefined) return;
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  // The channel alone keeps no program running that is done.
  process.channel.unref();
}
