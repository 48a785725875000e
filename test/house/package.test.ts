import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Command } from 'commander';
import { leastNode, runProgram } from '../../shared/program/program.ts';
import { standardError } from '../../shared/program/standard-error.ts';
import { projectFiles, readText, root } from './source-files.ts';

const manifest = JSON.parse(readText('package.json'));

test('every dependency is pinned to one version', () => {
  const versions = Object.entries<string>({
    ...manifest.dependencies,
    ...manifest.optionalDependencies,
    ...manifest.devDependencies,
  });
  assert.deepEqual(
    versions.filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version)),
    [],
  );
});

test('the lock file names no registry, and holds what package.json asks for', () => {
  for (const lock of ['package-lock.json', 'deploy/cdk/package-lock.json']) {
    assert.doesNotMatch(readText(lock), /"resolved"/);
  }
  const { packages } = JSON.parse(readText('package-lock.json'));
  assert.deepEqual(packages[''].dependencies, manifest.dependencies);
  assert.deepEqual(packages[''].optionalDependencies, manifest.optionalDependencies);
  assert.deepEqual(packages[''].devDependencies, manifest.devDependencies);
  // npm ci refuses a lock that leaves out a package for another platform.
  const missing = Object.entries<{ optionalDependencies?: Record<string, string> }>(packages).flatMap(([path, entry]) =>
    Object.keys(entry.optionalDependencies ?? {}).filter(
      (name) =>
        packages[`${path}/node_modules/${name}`] === undefined && packages[`node_modules/${name}`] === undefined,
    ),
  );
  assert.deepEqual(missing, []);
});

test('the tests run under the Node that package.json pins, which is there in production too, and locked', () => {
  const pinned = Object.entries<string>(manifest.optionalDependencies).filter(([name]) => name.startsWith('node-'));
  assert.ok(pinned.length > 0);
  const { packages } = JSON.parse(readText('package-lock.json'));
  for (const [name, version] of pinned) {
    assert.equal(version, leastNode);
    const { integrity, dev, hasInstallScript, bin } = packages[`node_modules/${name}`];
    // The package holds the program itself: none is fetched by a script that no hash in the lock file is of.
    assert.deepEqual(
      [/^sha512-/.test(integrity), dev, hasInstallScript, bin],
      [true, undefined, undefined, { node: 'bin/node' }],
    );
  }
  assert.equal(manifest.engines.node, `>=${leastNode}`);
  const isPinnedHere = pinned.some(([name]) => name === `node-${process.platform}-${process.arch}`);
  if (isPinnedHere) assert.equal(process.versions.node, leastNode);
});

test('an older Node that can read TypeScript is told which is needed', async (t) => {
  t.mock.property(process.versions, 'node', '22.18.0');
  let said = '';
  t.mock.method(standardError(), 'write', (text: string) => {
    said += text;
  });
  const before = process.exitCode;
  await runProgram(new Command('daybook-ingest').action(() => assert.fail('it runs')));
  process.exitCode = before;
  assert.match(said, new RegExp(`^daybook-ingest: needs Node ${leastNode} or newer, and this is 22\\.18\\.0`));
});

test('the newest version in the CHANGELOG is that of package.json', () => {
  const [, newest] = /^## \[(\d+\.\d+\.\d+)\]/m.exec(readText('CHANGELOG.md')) ?? [];
  assert.equal(newest, manifest.version);
});

test('each program of package.json is there, may be run, and names its interpreter', () => {
  for (const path of Object.values<string>(manifest.bin)) {
    assert.match(readText(path), /^#!\/usr\/bin\/env node\n/);
    assert.ok((statSync(join(root, path)).mode & 0o111) !== 0, `${path} has no run bit`);
  }
});

test('no file names a path of somebody’s machine', () => {
  const machine = /(?<![\w.~$}-])\/(?:work|root|home|tmp|Users)\/[\w.-]/;
  const wrong = projectFiles()
    .filter((path) => !path.startsWith('test/fixtures/'))
    .flatMap((path) =>
      readText(path)
        .split('\n')
        .flatMap((line, index) => (machine.test(line) ? [`${path}:${index + 1}: ${line.trim().slice(0, 80)}`] : [])),
    );
  assert.deepEqual(wrong, []);
});
