/**
 * Node's cache of what it makes of modules: without it each start strips the types from all of them, and compiles them. What lies
 * in it is run, so it lies beside the code and is as safe as that: in node_modules, which `npm ci` makes again, in a folder that
 * nobody but the owner of both may look into. There is none where the code belongs to somebody else, or nothing can be written;
 * then all is as it was, and slower. NODE_COMPILE_CACHE is of Node itself, and names another folder; NODE_DISABLE_COMPILE_CACHE
 * switches it off.
 */
import { lstatSync, mkdirSync, statSync } from 'node:fs';
import { enableCompileCache, getCompileCacheDir } from 'node:module';
import { join } from 'node:path';

/**
 * To be called before all else is imported. Each program has a folder of its own: they set V8's flags differently, and what was
 * compiled under others is compiled again. `modules`: a parameter for the sake of tests alone.
 */
export function keepCompiled(program: string, modules = join(import.meta.dirname, '../../node_modules')): void {
  if (getCompileCacheDir() !== undefined) return;
  const folder = join(modules, `.daybook-${program}`);
  if (makeOwn(folder, modules)) enableCompileCache(folder);
}

/** Whether the folder is there, and is this user's alone. */
function makeOwn(folder: string, modules: string): boolean {
  const user = process.geteuid?.();
  try {
    if (user === undefined || statSync(modules).uid !== user) return false;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = lstatSync(folder);
    return found.isDirectory() && found.uid === user && (found.mode & 0o077) === 0;
  } catch {
    return false;
  }
}
