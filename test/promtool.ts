/** Prometheus' own check of a scrape: that it parses, and that its names keep the rules. */
import { spawnSync } from 'node:child_process';
import type { TestContext } from 'node:test';
import { requireCommand } from './require-service.ts';

/** What promtool finds wrong, '' where nothing; undefined where it is not installed and the test is skipped. */
export function promtoolFindings(t: TestContext, scraped: string): string | undefined {
  if (!requireCommand(t, 'promtool')) return undefined;
  const { status, stdout, stderr, error } = spawnSync('promtool', ['check', 'metrics'], {
    input: scraped,
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  return status === 0 ? '' : `exit ${status}: ${stdout}${stderr}`;
}
