import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCodes } from '../../shared/errors.ts';
import { importsOf, productFiles, projectFiles, readText, root } from './source-files.ts';

/** Which folders the modules of a folder may import from, beside their own. */
const directions: Readonly<Record<string, readonly string[]>> = {
  // The halves meet on the stream and in the store alone: each can be deployed, scaled and replaced without the other.
  ingest: ['shared'],
  compactor: ['shared'],
  shared: [],
  // Starts the halves as processes; before that it looks at the settings of both.
  deploy: ['shared', 'ingest', 'compactor'],
};

const isProgram = (path: string) => readText(path).startsWith('#!') || path === 'deploy/scripts/start.ts';

test('ingest and compactor never import each other, shared imports neither, and none imports a test', () => {
  const wrong = productFiles().flatMap((path) => {
    const own = path.split('/')[0]!;
    return importsOf(path)
      .filter((imported) => imported.endsWith('.ts'))
      .filter((imported) => ![own, ...directions[own]!].includes(imported.split('/')[0]!))
      .map((imported) => `${path} imports ${imported}`);
  });
  assert.deepEqual(wrong, []);
  assert.ok(importsOf('ingest/command-line.ts').includes('ingest/run-serve.ts'), 'imports are read at all');
});

test('product code imports no package that is there for development alone', () => {
  const { dependencies } = JSON.parse(readText('package.json'));
  const wrong = productFiles().flatMap((path) =>
    importsOf(path)
      .filter((name) => !name.endsWith('.ts') && !name.startsWith('node:'))
      .map((name) =>
        name
          .split('/')
          .slice(0, name.startsWith('@') ? 2 : 1)
          .join('/'),
      )
      .filter((name) => dependencies[name] === undefined)
      .map((name) => `${path} imports ${name}`),
  );
  assert.deepEqual(wrong, []);
});

test('only programs and configuration.ts know the environment and the working directory', () => {
  // verify resolves the references in the file of --secrets, which are not settings.
  // The variables of a forward proxy are the machine's.
  const others = ['compactor/commands/verify.ts', 'shared/http/agents.ts'];
  const wrong = productFiles()
    .filter((path) => !isProgram(path) && !path.endsWith('/configuration.ts') && !others.includes(path))
    .filter((path) => /process\s*\.\s*(?:env|cwd)\b/.test(readText(path)));
  assert.deepEqual(wrong, []);
});

test('product code gets node:http without undici', () => {
  const wrong = productFiles().filter((path) => /^import (?!type )[^;]*from 'node:https?';/m.test(readText(path)));
  assert.deepEqual(wrong, []);
  const script = `const { nodeHttp } = await import('file://${root}/shared/http/node-http.ts'); nodeHttp(); process.stdout.write(process.moduleLoadList.join());`;
  const loaded = execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
  assert.match(loaded, /NativeModule _http_client/);
  assert.doesNotMatch(loaded, /undici/);
});

test('product code writes nothing by console', () => {
  assert.deepEqual(
    productFiles().filter((path) => /\bconsole\s*\./.test(readText(path))),
    [],
  );
});

test('importing a module opens, writes, starts and ends nothing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'daybook-import-'));
  const modules = productFiles().filter((path) => !isProgram(path));
  const script = `
    // Node opens these when they are looked at for the first time, by whomever.
    void [process.stdin, process.stdout, process.stderr];
    const before = process.getActiveResourcesInfo().sort().join();
    const listeners = () => ['SIGTERM', 'SIGINT', 'exit', 'beforeExit', 'uncaughtException'].map((name) => process.listenerCount(name)).join();
    const heard = listeners();
    for (const path of ${JSON.stringify(modules)}) {
      await import(${JSON.stringify(`file://${root}/`)} + path);
      const now = process.getActiveResourcesInfo().sort().join();
      if (now !== before) throw new Error(path + ' holds ' + now);
      if (listeners() !== heard) throw new Error(path + ' listens to the process');
      if (process.exitCode !== undefined) throw new Error(path + ' sets the exit code');
    }
    process.stdout.write(String(${modules.length}));
  `;
  try {
    // The permission model refuses writes, child processes and workers.
    const output = execFileSync(
      process.execPath,
      ['--permission', '--allow-fs-read=*', '--input-type=module', '--eval', script],
      { cwd: folder, env: { PATH: process.env.PATH }, encoding: 'utf8', timeout: 60_000 },
    );
    assert.equal(output, String(modules.length));
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('every error code that is thrown or named is declared, and every declared one is used', () => {
  const texts = productFiles()
    .filter((path) => path !== 'shared/errors.ts')
    .map(readText);
  const thrown = texts.flatMap((text) => [...text.matchAll(/new DaybookError\(\s*'(\w+)'/g)].map(([, code]) => code!));
  assert.deepEqual(
    thrown.filter((code) => !Object.hasOwn(errorCodes, code)),
    [],
  );
  // program.ts sorts codes into exit codes: that is not use.
  const used = productFiles()
    .filter((path) => path !== 'shared/errors.ts' && path !== 'shared/program/program.ts')
    .map(readText)
    .join('\n');
  assert.deepEqual(
    Object.keys(errorCodes).filter((code) => !used.includes(`'${code}'`)),
    [],
  );
});

test('a file has at most 400 lines, a test file 700', () => {
  // Tables: a second file would only hide half of each.
  const longer = new Map([
    ['shared/config.ts', 570],
    ['shared/errors.ts', 670],
  ]);
  const wrong = projectFiles()
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path, lines: readText(path).split('\n').length - 1 }))
    .filter(({ path, lines }) => lines > (longer.get(path) ?? (path.startsWith('test/') ? 700 : 400)));
  assert.deepEqual(wrong, []);
});
