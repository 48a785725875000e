#!/usr/bin/env node
/**
 * While the image is built: loads all modules of the program that is named, so that Node keeps what it makes of them in
 * NODE_COMPILE_CACHE. To load a module does nothing else.
 */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { keepHeapSmall } from '../../shared/program/memory.ts';

const root = join(import.meta.dirname, '../..');
const [program] = process.argv.slice(2);
// What was compiled under other flags of V8 is compiled again.
if (program === 'compactor') keepHeapSmall();
for (const path of globSync([`shared/**/*.ts`, `${program}/**/*.ts`], { cwd: root })) {
  if (!path.endsWith('main.ts')) await import(join(root, path));
}
