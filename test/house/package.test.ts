import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { projectFiles, readText, root } from './source-files.ts';

const manifest = JSON.parse(readText('package.json'));

test('every dependency is pinned to one version', () => {
  const versions = Object.entries<string>({ ...manifest.dependencies, ...manifest.devDependencies });
  assert.deepEqual(
    versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
    [],
  );
});

test('the lock file names no registry, and holds what package.json asks for', () => {
  assert.doesNotMatch(readText('package-lock.json'), /"resolved"/);
  const { packages } = JSON.parse(readText('package-lock.json'));
  assert.deepEqual(packages[''].dependencies, manifest.dependencies);
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

test('the tests run under the Node version that package.json pins', () => {
  assert.equal(process.versions.node, manifest.devDependencies.node);
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
