/** The dashboards as Grafana takes them: what the builder writes, with queries that Prometheus takes, of metrics that there are. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { compactorMetrics } from '../../../compactor/serve/metrics.ts';
import { dashboards } from '../../../deploy/grafana/dashboards.ts';
import { ingestMetrics } from '../../../ingest/metrics.ts';
import { redactMetrics } from '../../../ingest/redact/metrics.ts';
import { processMetrics } from '../../../shared/metrics/process-metrics.ts';
import { readText, root } from '../../house/source-files.ts';
import { requireCommand } from '../../require-service.ts';

const run = promisify(execFile);

test('each file is what the builder writes', async () => {
  for (const [file, build] of Object.entries(dashboards)) {
    const path = `deploy/grafana/${file}`;
    const text = `${JSON.stringify(build(), null, 2)}\n`;
    if (process.env.UPDATE_DOCS === '1') await writeFile(join(root, path), text);
    assert.ok(readText(path) === text, `${path}: UPDATE_DOCS=1 writes it`);
  }
});

test('the queries are sound, and every metric is on a dashboard', async (t) => {
  const queries = Object.values(dashboards).flatMap((build) =>
    (build().panels ?? []).flatMap((panel) =>
      'targets' in panel ? (panel.targets ?? []).map((target) => (target as { expr?: string }).expr ?? '') : [],
    ),
  );
  const tables = { ...ingestMetrics, ...redactMetrics, ...compactorMetrics, ...processMetrics };
  const shown = queries.flatMap((query) => query.match(/\b(?:daybook|process|nodejs)_\w+/g) ?? []);
  assert.deepEqual([...new Set(shown.map((name) => name.replace(/_bucket$/, '')))].sort(), Object.keys(tables).sort());
  if (!requireCommand(t, 'promtool')) return;
  const folder = await mkdtemp(join(tmpdir(), 'daybook-promql-'));
  const rules = queries.map((query, index) => ({
    record: `panel_${index}`,
    expr: query.replaceAll(/\$__(?:rate_interval|range)/g, '5m'),
  }));
  await writeFile(join(folder, 'panels.yaml'), JSON.stringify({ groups: [{ name: 'panels', rules }] }));
  await run('promtool', ['check', 'rules', 'panels.yaml'], { cwd: folder });
  await rm(folder, { recursive: true });
});
