/** The files of deploy/elk, as far as they can be checked without a cluster. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { missingRsyslog } from '../../end-to-end/carriers.ts';
import { faultsOf, savedObjects } from '../../end-to-end/dashboards.ts';
import { projectFiles, readText, root } from '../../house/source-files.ts';

const files = projectFiles('deploy/elk');
const read = (name: string) => JSON.parse(readText(`deploy/elk/${name}`));

test('the templates of OpenSearch and Elasticsearch differ in the flattened type and the lifecycle alone', () => {
  const opensearch = read('opensearch/index-template.json');
  const elasticsearch = read('elasticsearch/index-template.json');
  const { properties } = elasticsearch.template.mappings;
  for (const body of ['stripe', 'data']) {
    assert.deepEqual(properties[body], { type: 'flattened', ignore_above: 8191 });
    properties[body] = { type: 'flat_object' };
  }
  assert.equal(elasticsearch.template.settings['index.lifecycle.name'], 'daybook-events');
  delete elasticsearch.template.settings['index.lifecycle.name'];
  assert.deepEqual(elasticsearch, opensearch);
  assert.equal(opensearch.template.mappings.dynamic, 'strict');
});

test('both policies delete at the same age, of the indices that the template makes', () => {
  const { states, ism_template } = read('opensearch/ism-policy.json').policy;
  const age = states[0].transitions[0].conditions.min_index_age;
  assert.equal(read('elasticsearch/ilm-policy.json').policy.phases.delete.min_age, age);
  for (const pattern of ism_template[0].index_patterns) {
    assert.ok(read('opensearch/index-template.json').index_patterns.includes(pattern));
  }
});

test('the saved objects are whole: every reference is there, every panel and filter names one', () => {
  const objects = savedObjects();
  assert.deepEqual(faultsOf(objects), []);
  const [dashboard, ...others] = objects.toReversed();
  assert.equal(dashboard!.type, 'dashboard');
  const visualizations = others.filter(({ type }) => type === 'visualization').map(({ id }) => id);
  assert.deepEqual(new Set(dashboard!.references.map(({ id }) => id)), new Set(visualizations));
});

test('rsyslogd takes its configuration', (t) => {
  const missing = missingRsyslog();
  if (missing !== undefined) t.skip(missing);
});

test('Fluent Bit takes its configuration', (t) => {
  if (!hasCommand(t, 'fluent-bit', '--version')) return;
  const folder = mkdtempSync(join(tmpdir(), 'daybook-fluent-bit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const { status, stderr } = spawnSync('fluent-bit', ['-c', join(root, 'deploy/elk/fluent-bit.yaml'), '--dry-run'], {
    env: { ...process.env, ELK_BROKER: 'b:9092', ELK_TOPIC: 't', ELK_HOST: 'o', ELK_PORT: '9200', ELK_FOLDER: folder },
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
});

/** Two parsers of Logstash's language; neither knows its plugins. */
const parsers = [
  { command: 'mustache', probe: '--help', args: (path: string) => ['lint', path] },
  {
    command: 'python3',
    probe: '-clogstash_pipeline_parser',
    args: (path: string) => [
      '-c',
      'import sys; from logstash_pipeline_parser import Pipeline; Pipeline(open(sys.argv[1]).read()).parse()',
      path,
    ],
  },
];
for (const { command, probe, args } of parsers) {
  test(`Logstash's pipelines parse (${command})`, (t) => {
    if (!hasCommand(t, command, probe.replace(/^-c/, '-cimport '))) return;
    for (const path of files.filter((path) => path.startsWith('deploy/elk/logstash/'))) {
      const { status, stdout, stderr } = spawnSync(command, args(join(root, path)), { encoding: 'utf8' });
      assert.equal(status, 0, `${path}: ${stdout}${stderr}`);
    }
  });
}

/** Not to be had from a package of every system: skipped where it is not there, also with REQUIRE_SERVICES=1. */
function hasCommand(t: TestContext, command: string, probe: string): boolean {
  const { status, error } = spawnSync(command, [probe]);
  if (error === undefined && status === 0) return true;
  t.skip(`needs ${command} (${probe})`);
  return false;
}
