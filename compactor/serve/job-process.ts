/**
 * Ties a command to the `serve` that started it: where that one is gone, however it ended, the command ends as at SIGTERM.
 * A command that nobody started over IPC is left alone.
 */
export function endWithParent(): void {
  if (process.channel === undefined) return;
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  // The channel alone keeps no command running that is done.
  process.channel.unref();
}
