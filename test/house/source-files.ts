/** The project's own files, for the tests of the house rules. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const root = dirname(dirname(import.meta.dirname));

const productFolders = ['ingest', 'compactor', 'shared', 'deploy'];
/** What .gitignore names, and git's own. */
const ignored = /^(?:\.git|node_modules|data|dist|cdk\.out|\.services|\.env)$|\.log$/;

/** Paths below the root, `/` between folders: of all files that are not ignored. */
export function projectFiles(folder = ''): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !ignored.test(name))
    .flatMap((entry) => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      return entry.isDirectory() ? projectFiles(path) : [path];
    })
    .sort();
}

/** They write files that are committed, or handed to a cloud; no program of ours imports them. */
const builders = /^deploy\/(?:grafana|cdk)\//;

/** The TypeScript that runs in production. */
export function productFiles(): string[] {
  return projectFiles().filter(
    (path) => path.endsWith('.ts') && productFolders.includes(path.split('/')[0]!) && !builders.test(path),
  );
}

export function readText(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** `import … from '…'`, `export … from '…'`, `import '…'`, and `import('…')`. */
const specifier = /^(?:import|export)\s[\w\s{},*$]*?from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm;

/** What a module imports, in the order of the text: paths below the root, names of packages, `node:` modules. */
export function importsOf(path: string): string[] {
  return [...readText(path).matchAll(specifier)].map(([, ...found]) => {
    const name = found.find((text) => text !== undefined)!;
    return name.startsWith('.') ? join(dirname(path), name) : name;
  });
}
