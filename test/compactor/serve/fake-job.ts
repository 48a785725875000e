/**
 * A program whose jobs do as their arguments say, in this order: `--deaf` (to SIGTERM), `--progress JSON` (an IPC message),
 * `--wait` (until it is ended), `--long N` (N bytes of stdout), `--report TEXT` (stdout), `--die` (by SIGKILL), `--exit N`.
 */
import { parseArgs } from 'node:util';
import { endWithParent } from '../../../shared/program/end-with-parent.ts';

endWithParent();
const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    deaf: { type: 'boolean' },
    progress: { type: 'string' },
    wait: { type: 'boolean' },
    long: { type: 'string' },
    report: { type: 'string' },
    die: { type: 'boolean' },
    exit: { type: 'string' },
    json: { type: 'boolean' },
  },
});
if (values.deaf) process.on('SIGTERM', () => {});
if (values.progress !== undefined) process.send?.(JSON.parse(values.progress));
if (values.wait) setInterval(() => {}, 1_000);
else {
  if (values.long !== undefined) process.stdout.write('x'.repeat(Number(values.long)));
  if (values.report !== undefined) process.stdout.write(values.report);
  if (values.die) process.kill(process.pid, 'SIGKILL');
  process.exitCode = Number(values.exit ?? 0);
}
