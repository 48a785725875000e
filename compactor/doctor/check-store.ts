/** The store of DAYBOOK_STORE: is it there, and does it permit what a night does? */
import { join } from 'node:path';
import { checkFolder, checkRoom, existingAbove } from '../../shared/doctor/check-files.ts';
import { type Found, ok, problemOf } from '../../shared/doctor/finding.ts';
import { proveDirectory } from '../../shared/store/directory/probe.ts';
import type { StoreConfiguration } from '../../shared/store/open.ts';

/** Of the disk of an archive or of staging: a night of some size. */
export const wantedBytes = 1024 ** 3;

export async function checkStore(store: StoreConfiguration, dataDirectory: string): Promise<Found[]> {
  if (store.type === 's3') {
    const { checkS3 } = await import('./check-s3.ts');
    return checkS3(store.params);
  }
  const path = store.params?.path ?? join(dataDirectory, 'archive');
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
