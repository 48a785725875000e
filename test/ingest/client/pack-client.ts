/** Packs ingest/client as its author would, and installs it. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../house/source-files.ts';

/** Works in a copy: the checkout keeps nothing of it. Returns the folder of the installed package. */
export function packClient(folder: string): string {
  const source = join(folder, 'source/ingest/client');
  cpSync(join(root, 'ingest/client'), source, { recursive: true });
  cpSync(join(root, 'tsconfig.json'), join(folder, 'source/tsconfig.json'));
  const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` };
  execFileSync('npm', ['pack', '--pack-destination', folder], { cwd: source, env, stdio: 'pipe' });
  const installed = join(folder, 'node_modules/daybook-client');
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, 'daybook-client-0.1.0.tgz'), '--strip-components=1', '-C', installed]);
  return installed;
}
