/** The files of deploy/ that put daybook onto machines: each held by the tool that will read it, and against the settings. */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { defaultOf, type SettingName, settings } from '../../shared/config.ts';
import { leastNode } from '../../shared/program/program.ts';
import { storeSchema } from '../../shared/store/stores.ts';
import { streamSchema } from '../../shared/stream/streams.ts';
import { projectFiles, readText, root } from '../house/source-files.ts';
import { requireCommand } from '../require-service.ts';

const files = projectFiles('deploy').filter((path) => !/^deploy\/(?:elk|scripts|cdk|prometheus|grafana)\//.test(path));
const isSecret = (name: SettingName) => 'secret' in settings[name];
const known = new Set(
  (Object.keys(settings) as SettingName[]).flatMap((name) => (isSecret(name) ? [name, `${name}_FILE`] : [name])),
);

/** Runs it in the root; undefined, and the test is skipped by the reason, where it is not installed. */
function checker(t: TestContext, name: string, ...parameters: string[]): SpawnSyncReturns<string> | undefined {
  const isRequired = process.env.REQUIRE_SERVICES === '1';
  const ran = spawnSync('bash', ['test/deploy/tool.sh', name, ...parameters], {
    cwd: root,
    env: { ...process.env, ...(isRequired ? {} : { SERVICES_INSTALL: 'no' }) },
    encoding: 'utf8',
  });
  if (ran.status !== 69) return ran;
  const reason = ran.stderr.trim().split('\n').at(-1)!;
  if (isRequired) throw new Error(reason);
  t.skip(`${reason} (REQUIRE_SERVICES=1 installs it)`);
  return undefined;
}

test('every setting that a file of deploy/ names is one, and as a file only where it may be', () => {
  const wrong = files.flatMap((path) =>
    [...readText(path).matchAll(/\b(?:DAYBOOK|INGEST|COMPACTOR)_[A-Z_]*[A-Z]\b/g)]
      .filter(([name]) => !known.has(name))
      .map(([name]) => `${path}: ${name}`),
  );
  assert.deepEqual(wrong, []);
  assert.ok(files.some((path) => path.endsWith('compose.yaml')));
});

test('the streams and stores that compose.yaml and the units name are sound', () => {
  const texts = ['deploy/compose.yaml', 'deploy/systemd/compactor.env.example'].map(readText).join('\n');
  const values = [...texts.matchAll(/^ *(DAYBOOK_STREAM|DAYBOOK_STORE)[:=] *'?(\{.*\})'?$/gm)];
  assert.equal(values.length, 3);
  for (const [, name, text] of values) {
    (name === 'DAYBOOK_STREAM' ? streamSchema : storeSchema).parse(JSON.parse(text!));
  }
});

test('the image runs on the pinned Node, at the default ports, and nothing of it is root’s to run', () => {
  const text = readText('deploy/Dockerfile');
  for (const name of ['INGEST_PORT', 'COMPACTOR_PORT'] as const) {
    assert.match(text, new RegExp(`\\b${name}=${defaultOf(name)}\\b`));
  }
  const ports = (['INGEST_PORT', 'COMPACTOR_PORT', 'INGEST_ADMIN_PORT', 'COMPACTOR_ADMIN_PORT'] as const).map(
    defaultOf,
  );
  assert.match(text, new RegExp(`^EXPOSE ${ports.join(' ')}$`, 'm'));
  assert.match(text, new RegExp(`^FROM node:${leastNode.split('.')[0]}-`, 'm'));
  assert.match(text, /^ENV PATH=\/app\/node_modules\/\.bin:/m);
  // It runs what lies there.
  assert.match(text, /NODE_COMPILE_CACHE=\/app\/compiled\n/);
  assert.match(text, /^COPY --from=compiled --chown=0:0 \/app\/compiled \.\/compiled$/m);
  // The last user of each stage that is shipped.
  assert.equal(text.match(/^USER .*$/gm)?.at(-1), 'USER 10001:10001');
});

test('the image’s health check takes a command without a listener for healthy', () => {
  // Process 1 here is no daybook: as for a container that runs `verify`.
  const { status, stderr } = spawnSync(process.execPath, ['deploy/scripts/healthcheck.ts'], {
    cwd: root,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
});

test('hadolint finds nothing in the Dockerfile', (t) => {
  const ran = checker(t, 'hadolint', 'deploy/Dockerfile');
  if (ran !== undefined) assert.equal(ran.status, 0, ran.stdout + ran.stderr);
});

test('compose.yaml is taken by the loader of Docker Compose, and one with a mistake is not', (t) => {
  const ran = checker(t, 'compose-check', 'deploy/compose.yaml');
  if (ran === undefined) return;
  assert.equal(ran.status, 0, ran.stderr);
  for (const service of ['kafka', 's3', 'prepare', 'ingest', 'compactor', 'demo']) {
    assert.match(ran.stdout, new RegExp(`^ {2}${service}:$`, 'm'));
  }
  const folder = mkdtempSync(join(tmpdir(), 'daybook-compose-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const broken = join(folder, 'compose.yaml');
  writeFileSync(
    broken,
    readText('deploy/compose.yaml').replace('condition: service_completed', 'conditon: service_completed'),
  );
  assert.equal(checker(t, 'compose-check', broken)!.status, 1);
});

const units = files.filter((path) => /\/systemd\/.*\.(?:service|timer)$/.test(path));

test('systemd takes the units', (t) => {
  if (!requireCommand(t, 'systemd-analyze')) return;
  const folder = mkdtempSync(join(tmpdir(), 'daybook-units-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const paths = units.map((path) => {
    const copy = join(folder, path.split('/').at(-1)!);
    // The program of an installation is not there.
    writeFileSync(copy, readText(path).replaceAll('/opt/daybook/node_modules/.bin/node', process.execPath));
    return copy;
  });
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...paths], { encoding: 'utf8' });
  assert.deepEqual([status, stderr], [0, '']);
  for (const path of paths.filter((one) => one.endsWith('.service'))) {
    // Of 100: the lower the less the service may do.
    const args = ['security', '--offline=true', '--threshold=15', path];
    const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
    assert.equal(status, 0, `${stdout.trim().split('\n').at(-1)}${stderr}`);
  }
});

test('the three units harden themselves alike', () => {
  const hardened = units
    .filter((path) => path.endsWith('.service'))
    .map((path) => /^UMask=[\s\S]*?(?=\n# Not Memory)/m.exec(readText(path))?.[0]);
  assert.equal(hardened.length, 3);
  assert.equal(new Set(hardened).size, 1);
});
