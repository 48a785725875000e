/** One day of an archive in a directory: verified without and with the private key, and restored to a file. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CompactRow, day, embeddedToDirectory, fill } from './compact.ts';
import { measureCompactor, newKeys } from './compactor-program.ts';

/** Rows for each count of distinct events; a tenth of them was delivered twice. */
export async function benchVerify(counts: readonly number[]): Promise<CompactRow[]> {
  const rows: CompactRow[] = [];
  for (const events of counts) {
    const directory = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
    try {
      const { identity, settings } = await newKeys(directory);
      const keyFile = join(directory, 'identity.txt');
      await writeFile(keyFile, `${identity}\n`);
      await fill(directory, events, embeddedToDirectory);
      const run = (...args: string[]) => measureCompactor(directory, settings, args);
      await run('run', '--now', '2026-11-21T03:00:00Z');
      const checks = [
        ['verify', await run('verify')],
        ['verify --identity', await run('verify', '--identity', keyFile)],
      ] as const;
      for (const [name, { report, ...measured }] of checks) {
        const found = (report.days as { day: string; events: number }[]).find((each) => each.day === day)?.events;
        if (report.ok !== true || found !== events)
          throw new Error(`${name}: ${JSON.stringify(report).slice(0, 2_000)}`);
        rows.push({ name, events, ...measured });
      }
      const { report, ...measured } = await run(
        'restore',
        '-i',
        keyFile,
        '--day',
        day,
        '-o',
        join(directory, 'restored'),
      );
      if (report.events !== events) throw new Error(`restored ${report.events} of ${events} events`);
      rows.push({ name: 'restore to a file', events, ...measured });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
  return rows;
}
