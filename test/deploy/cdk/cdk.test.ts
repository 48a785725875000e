/** deploy/cdk, a package of its own: its types, its tests, its templates. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { root } from '../../house/source-files.ts';
import { requireCommand } from '../../require-service.ts';

const run = promisify(execFile);
const folder = join(root, 'deploy/cdk');

/** Its packages are not those of daybook: `npm ci` in deploy/cdk brings them. */
function requirePackages(t: TestContext): boolean {
  if (existsSync(join(folder, 'node_modules'))) return true;
  const missing = 'needs the packages of deploy/cdk: npm ci there';
  if (process.env.REQUIRE_SERVICES === '1') throw new Error(`${missing}, and REQUIRE_SERVICES=1`);
  t.skip(missing);
  return false;
}

test('the CDK package type-checks, its own tests pass, and cfn-lint finds nothing wrong with the templates', async (t) => {
  if (!requirePackages(t) || !requireCommand(t, 'cfn-lint')) return;
  const templates = await mkdtemp(join(tmpdir(), 'daybook-cdk-'));
  // Without the mark of this test run, or the inner one reports nothing.
  const { NODE_TEST_CONTEXT: _, ...outer } = process.env;
  const env = { ...outer, CDK_OUTDIR: templates };
  await run(join(root, 'node_modules/.bin/tsc'), ['--noEmit', '-p', folder], { env });
  const { stdout } = await run(process.execPath, ['--test', '--test-reporter=tap', join(folder, 'stacks.test.ts')], {
    env,
  });
  assert.match(stdout, /^# pass [1-9]/m);
  const written = (await readdir(templates)).filter((name) => name.endsWith('.template.json'));
  assert.equal(written.length, 2);
  // W3005: a dependency that is said twice, which CDK writes itself.
  await run('cfn-lint', ['-i', 'W3005', '-r', 'eu-west-1', '--', ...written], { cwd: templates });
  await rm(templates, { recursive: true });
});
