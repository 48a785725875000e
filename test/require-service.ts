/**
 * Tests that need a program of the machine skip, by its name, where it is missing; with REQUIRE_SERVICES=1, as in
 * continuous integration, they fail instead, so that nothing is left out unseen.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';

/** Whether the command is on the PATH. Where it answers false the test is marked as skipped and should return. */
export function requireCommand(t: TestContext, command: string): boolean {
  if (pathOf(command) !== undefined) return true;
  if (process.env.REQUIRE_SERVICES === '1') throw new Error(`${command} is not installed, and REQUIRE_SERVICES=1`);
  t.skip(`needs the command ${command}`);
  return false;
}

/** Where the command is; undefined: nowhere on the PATH. */
export function pathOf(command: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, command)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
