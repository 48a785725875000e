/** The chart: what helm and kubeconform say of it, where they are, and that its values and the settings know each other. */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { settings } from '../../../shared/config.ts';
import { projectFiles, readText, root } from '../../house/source-files.ts';
import { pathOf } from '../../require-service.ts';

const chart = 'deploy/helm/daybook';
const variants = ['kafka', 'sql'];
const schema = JSON.parse(readText(`${chart}/values.schema.json`));

/** Not to be had from a package of every system, and minutes to build: skipped where it is not there, also in CI. */
function helm(t: TestContext, ...parameters: string[]): string | undefined {
  if (pathOf('helm') === undefined) {
    t.skip('needs the command helm');
    return undefined;
  }
  const { status, stdout, stderr } = spawnSync('helm', parameters, { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout : `FAILED\n${stdout}${stderr}`;
}

const valuesOf = (variant: string) => ['--values', `test/deploy/helm/${variant}-values.yaml`];
const render = (t: TestContext, variant: string, ...more: string[]) =>
  helm(t, 'template', 't', chart, ...valuesOf(variant), ...more);

test('`settings` takes every setting but those that the chart or the image sets', () => {
  const texts = [...projectFiles(`${chart}/templates`), 'deploy/Dockerfile'].map(readText).join('\n');
  const set = /(?:name: |^ENV |^ {2})((?:DAYBOOK|INGEST|COMPACTOR)_\w+?)(?:_FILE)?[,=]/gm;
  const own = new Set([...texts.matchAll(set)].map(([, name]) => name!));
  // Nor is there a schedule beside the chart's, or a port but those that its Services know.
  const all = [...own, 'COMPACTOR_ENABLED', 'INGEST_ADMIN_PORT', 'COMPACTOR_ADMIN_PORT'].sort();
  const { pattern, not } = schema.properties.settings.propertyNames;
  assert.deepEqual(not.enum, all);
  for (const name of Object.keys(settings)) assert.match(name, new RegExp(pattern));
});

test('every value has a default, and the schema and values.yaml name the same', () => {
  const text = readText(`${chart}/values.yaml`);
  const top = [...text.matchAll(/^(\w+):/gm)].map(([, name]) => name!);
  assert.deepEqual(
    Object.keys(schema.properties).filter((name) => name !== 'global'),
    top,
  );
  const used = new Set(
    [
      ...projectFiles(`${chart}/templates`)
        .map(readText)
        .join('\n')
        .matchAll(/\.(\w+)/g),
    ].map(([, name]) => name),
  );
  for (const part of ['secrets', 'ingest', 'compactor', 'networkPolicy', 'serviceMonitor', 'image'] as const) {
    for (const name of Object.keys(schema.properties[part].properties)) {
      assert.match(text, new RegExp(`^ {2}${name}:`, 'm'), `${part}.${name}`);
      // The secrets are gone through by name.
      assert.ok(used.has(name) || part === 'secrets', `${part}.${name} is used`);
    }
  }
});

for (const variant of variants) {
  test(`helm lints and renders the chart: ${variant}`, (t) => {
    const linted = helm(t, 'lint', '--strict', chart, ...valuesOf(variant));
    if (linted === undefined) return;
    assert.match(linted, /1 chart\(s\) linted, 0 chart\(s\) failed/);
    const text = render(t, variant)!;
    assert.doesNotMatch(text, /^FAILED/);
    const kinds = [...text.matchAll(/^kind: (\w+)$/gm)].map(([, kind]) => kind);
    const expected =
      variant === 'kafka'
        ? ['StatefulSet', 'Deployment', 'Ingress', 'NetworkPolicy', 'ServiceMonitor', 'ServiceAccount']
        : ['Deployment', 'CronJob', 'HorizontalPodAutoscaler'];
    for (const kind of [...expected, 'Service', 'PodDisruptionBudget', 'Pod']) assert.ok(kinds.includes(kind), kind);
    // No pod is given more than it needs: ingest never sees the signing key.
    const ingest = text.split(/^---$/m).find((document) => document.includes('args: [ingest/main.ts, serve]'))!;
    assert.doesNotMatch(ingest, /signing-key|job-secret|DAYBOOK_STORE/);
    for (const pod of text.split(/^---$/m).filter((document) => document.includes('containers:'))) {
      for (const word of [
        'runAsNonRoot: true',
        'readOnlyRootFilesystem: true',
        'drop: [ALL]',
        'enableServiceLinks: false',
      ]) {
        assert.ok(pod.includes(word), word);
      }
    }
  });

  test(`kubeconform takes what the chart renders: ${variant}`, (t) => {
    const { KUBECONFORM_SCHEMAS: schemas } = process.env;
    if (pathOf('kubeconform') === undefined || schemas === undefined) {
      return t.skip('needs the command kubeconform, and KUBECONFORM_SCHEMAS, a folder of its schemas');
    }
    const input = render(t, variant);
    if (input === undefined) return;
    for (const version of ['1.30.0', '1.37.0']) {
      const location = join(
        schemas,
        `{{.NormalizedKubernetesVersion}}-local{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json`,
      );
      const args = [
        '-strict',
        '-ignore-missing-schemas',
        '-kubernetes-version',
        version,
        '-schema-location',
        location,
        '-',
      ];
      const ran: SpawnSyncReturns<string> = spawnSync('kubeconform', args, { input, encoding: 'utf8' });
      assert.equal(ran.status, 0, ran.stdout);
    }
  });
}

test('the values that deploy/README.md shows are taken', (t) => {
  const [, values] = /^```yaml\n([\s\S]*?)^```$/m.exec(readText('deploy/README.md'))!;
  const folder = mkdtempSync(join(tmpdir(), 'daybook-values-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'values.yaml'), values!);
  const text = helm(t, 'template', 't', chart, '--values', join(folder, 'values.yaml'));
  if (text !== undefined) assert.match(text, /^kind: StatefulSet$/m, text.slice(0, 2_000));
});

test('values that would lose events or show a secret are refused', (t) => {
  const wrong: [string[], RegExp][] = [
    [['--set', 'ingest.spool.type=memory'], /ingest\/spool\/type/],
    [['--set', 'stream.type=embedded'], /stream\/type/],
    [['--set', 'compactor.recipients=AGE-SECRET-KEY-1X'], /compactor\/recipients/],
    [['--set', 'settings.INGEST_PORT=1'], /INGEST_PORT/],
    [['--set', 'secrets.signingKey='], /signingKey/],
    [['--set', 'ingest.replica=2'], /additional properties 'replica' not allowed/],
    [['--set', 'ingest.spool.type=sql'], /needs secrets.spool/],
    [['--set', 'stream=null'], /give `stream`/],
  ];
  for (const [more, said] of wrong) {
    const text = render(t, 'kafka', ...more);
    if (text === undefined) return;
    assert.match(text, /^FAILED/, more.join(' '));
    assert.match(text, said, more.join(' '));
  }
});
