/** A directory as a night uses it, for doctor. */
import { checkFolder, checkRoom, existingAbove, wantedBytes } from '../../doctor/check-files.ts';
import { type Found, ok, problemOf } from '../../doctor/finding.ts';
import { proveDirectory } from './probe.ts';

export async function checkDirectory(path: string): Promise<Found[]> {
  const found = checkFolder('the archive', path);
  if (!found.some(({ status }) => status === 'problem')) found.push(await checkCreates(existingAbove(path)));
  return [...found, ...checkRoom('the archive', path, wantedBytes)];
}

async function checkCreates(folder: string): Promise<Found> {
  try {
    await proveDirectory(folder);
    return ok('the archive creates a file once, gives it back, and refuses a second one of its name');
  } catch (error) {
    return problemOf(error);
  }
}
