/** The alert rules: promtool's own tests of them, and that they know the metrics as they are. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { compactorMetrics } from '../../../compactor/serve/metrics.ts';
import { ingestMetrics } from '../../../ingest/metrics.ts';
import { redactMetrics } from '../../../ingest/redact/metrics.ts';
import { processMetrics } from '../../../shared/metrics/process-metrics.ts';
import { readText, root } from '../../house/source-files.ts';
import { requireCommand } from '../../require-service.ts';
import { readAlerts, rulesFile } from './rules.ts';

const run = promisify(execFile);
const unitFiles = ['minutes.unit.yaml', 'days.unit.yaml'].map((name) => `test/deploy/prometheus/${name}`);

test('promtool finds the rules sound, and each alert fires where it must and not where it must not', async (t) => {
  if (!requireCommand(t, 'promtool')) return;
  await run('promtool', ['check', 'rules', rulesFile], { cwd: root });
  await run('promtool', ['test', 'rules', ...unitFiles.map((file) => join(root, file))], { cwd: root });
});

test('each alert has a case where it fires and one where it does not', () => {
  const cases = unitFiles.flatMap((file) => [...readText(file).matchAll(/alertname: (\w+),.*exp_alerts: \[(.)/g)]);
  const names = (fires: boolean) =>
    new Set(cases.filter(([, , next]) => (next === '{') === fires).map(([, name]) => name));
  const alerts = readAlerts().map(({ name }) => name);
  assert.ok(alerts.length >= 25);
  assert.deepEqual(new Set(alerts), names(true));
  assert.deepEqual(new Set(alerts), names(false));
});

test('the rules name metrics and label values that there are', () => {
  const tables = { ...ingestMetrics, ...redactMetrics, ...compactorMetrics, ...processMetrics };
  const rules = readText(rulesFile);
  const selectors = [...rules.matchAll(/\b(daybook_\w+?)(?:_bucket)?(?:\{([^}]*)\})?(?![\w{])/g)];
  assert.ok(selectors.length > 25);
  for (const [selector, name, labels] of selectors) {
    const declared = (tables as Record<string, { labels?: Record<string, unknown> }>)[name!];
    assert.ok(declared !== undefined, selector);
    for (const [, label, values] of (labels ?? '').matchAll(/(\w+)(?:=|!=|=~)"([^"]*)"/g)) {
      const known: unknown = declared.labels?.[label!.replace('exported_', '')];
      assert.ok(known !== undefined, `${selector} has no label ${label}`);
      if (!Array.isArray(known)) continue;
      assert.deepEqual(
        values!.split('|').filter((value) => !known.includes(value)),
        [],
        selector,
      );
    }
  }
});
