/**
 * Tests that need a program of the machine skip, by its name, where it is missing; with REQUIRE_SERVICES=1, as in
 * continuous integration, they fail instead, so that nothing is left out unseen.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';

/** Whether the command is on the PATH. Where it answers false the test is marked as skipped and should return. */
export function requireCommand(t: TestContext, command: string): boolean {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  if (folders.some((folder) => isExecutable(join(folder, command)))) return true;
  if (process.env.REQUIRE_SERVICES === '1') throw new Error(`${command} is not installed, and REQUIRE_SERVICES=1`);
  t.skip(`needs the command ${command}`);
  return false;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
