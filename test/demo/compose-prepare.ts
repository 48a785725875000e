/**
 * The first step of deploy/compose.yaml: development values in the data directory, and the bucket. What is there already
 * stays, so it may run before every start.
 */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { developmentValues, makeDevelopmentFiles } from '../../deploy/scripts/development-values.ts';
import { defaultOf, readSettings } from '../../shared/config.ts';
import { openStore } from '../../shared/store/open.ts';
import { writeSources } from './sources-with-key.ts';

const directory = process.env.DAYBOOK_DATA_DIR ?? defaultOf('DAYBOOK_DATA_DIR');
const { recipient, sources } = await makeDevelopmentFiles(directory);
await developmentValues(['DAYBOOK_STREAM_KEY'], directory);
const folder = dirname(sources);
writeSources(sources, join(folder, 'sources-with-key.json'));
await writeFile(join(folder, 'recipients.txt'), `${recipient}\n`);

// `createBucket` is among its params.
const { DAYBOOK_STORE: configured } = readSettings(process.env, ['DAYBOOK_STORE']);
const { store } = await openStore(configured, directory, { willCreate: true });
await store.close();
process.stdout.write(`ready: ${folder}, and ${store.location}\n`);
