/**
 * The first step of deploy/compose.yaml: development values in the data directory, and the bucket. What is there already
 * stays, so it may run before every start.
 */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  BucketAlreadyExists,
  BucketAlreadyOwnedByYou,
  CreateBucketCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { developmentValues, makeDevelopmentFiles } from '../../deploy/scripts/development-values.ts';
import { defaultOf } from '../../shared/config.ts';
import { writeSources } from './sources-with-key.ts';

const directory = process.env.DAYBOOK_DATA_DIR ?? defaultOf('DAYBOOK_DATA_DIR');
const { recipient, sources } = await makeDevelopmentFiles(directory);
await developmentValues(['DAYBOOK_STREAM_KEY'], directory);
const folder = dirname(sources);
writeSources(sources, join(folder, 'sources-with-key.json'));
await writeFile(join(folder, 'recipients.txt'), `${recipient}\n`);

const { params } = JSON.parse(process.env.DAYBOOK_STORE!) as { params: { bucket: string } & S3ClientConfig };
const client = new S3Client(params);
try {
  await client.send(new CreateBucketCommand({ Bucket: params.bucket }));
} catch (error) {
  if (!(error instanceof BucketAlreadyOwnedByYou || error instanceof BucketAlreadyExists)) throw error;
} finally {
  client.destroy();
}
process.stdout.write(`ready: ${folder}, and the bucket ${params.bucket}\n`);
