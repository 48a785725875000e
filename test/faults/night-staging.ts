/** A process that opens and removes staging folders in a data directory: `night-staging.ts DIRECTORY TIMES`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStaging } from '../../compactor/staging/staging.ts';

const [directory, times] = process.argv.slice(2);
for (let time = 0; time < Number(times); time += 1) {
  const staging = openStaging(directory!);
  for (const name of ['run-1', 'run-2', 'run-3']) writeFileSync(join(staging.directory, name), 'plaintext');
  staging.remove();
}
