/** The stream of DAYBOOK_STREAM, as its driver sees it when it opens it. Makes nothing and writes nothing. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { KafkaParams, KinesisParams } from '../config.ts';
import { unsealedWarning } from '../crypto/stream-seal.ts';
import { DaybookError } from '../errors.ts';
import { openEmbeddedWriter } from '../stream/embedded.ts';
import type { StreamConfiguration } from '../stream/open.ts';
import { checkClock } from './check-clock.ts';
import { checkSecretFiles, inUnits } from './check-files.ts';
import { openWarningCollector } from './collect-warnings.ts';
import { type Found, ok, problemOf, warning } from './finding.ts';
import { noteDate } from './note-date.ts';

export interface StreamFindings {
  readonly found: readonly Found[];
  /** The largest value of a record, in bytes; undefined where there is no limit, or it is not known. */
  readonly maxValueBytes?: number;
}

const mend =
  "Change the stream's settings so that this holds no more; shared/README.md, Configuration, has what daybook needs.";
const patienceMs = 5_000;

/** Rejects with what keeps the stream from being used. */
export async function checkStream(
  stream: StreamConfiguration,
  dataDirectory: string,
  isSealed: boolean,
): Promise<StreamFindings> {
  const { found, ...rest } = await checkDriver(stream, dataDirectory);
  const hint =
    'Set it for ingest and the compactor: openssl rand -hex 32 makes one. compactor/README.md says how to change over.';
  return {
    ...rest,
    found: isSealed || stream.type === 'embedded' ? found : [...found, warning(unsealedWarning, hint)],
  };
}

async function checkDriver(stream: StreamConfiguration, dataDirectory: string): Promise<StreamFindings> {
  switch (stream.type) {
    case 'embedded':
      return checkEmbedded(dataDirectory);
    case 'kafka':
      return checkKafka(stream.params);
    case 'kinesis':
      return checkKinesis(stream.params);
  }
}

async function checkEmbedded(directory: string): Promise<StreamFindings> {
  const path = join(directory, 'stream.sqlite');
  // Opening makes it where it is not.
  if (!existsSync(path) && !existsSync(`${path}-wal`)) {
    return { found: [ok('stream.sqlite is not there yet; the program that starts first makes it')] };
  }
  const writer = await openEmbeddedWriter({ directory });
  try {
    await writer.probe();
    await writer.prove();
  } finally {
    await writer.close();
  }
  return {
    found: [
      ok('stream.sqlite takes events, and all that it holds can be read; it keeps them for 8 days at least'),
      ...checkSecretFiles([{ name: 'stream.sqlite', path }]),
    ],
  };
}

async function checkKafka({ create, ...params }: KafkaParams): Promise<StreamFindings> {
  const [{ openKafka }, { checkTopic, probeTopic }, { maxValueBytesOf }, { proveTopic }] = await Promise.all([
    import('../stream/kafka/client.ts'),
    import('../stream/kafka/topic.ts'),
    import('../stream/kafka/append.ts'),
    import('../stream/kafka/prove.ts'),
  ]);
  const { log, found } = openWarningCollector();
  const kafka = openKafka(params, log);
  try {
    const warned = new Set<string>();
    const topic = await checkTopic(kafka, params, log, warned);
    const maxValueBytes = maxValueBytesOf(topic);
    const probed = await probeTopic(kafka, params, topic.minInSyncReplicas)
      .then(() => proveTopic({ params, log, warned, all: true }))
      .then(
        () => [],
        // ingest's user need not read.
        (error: unknown) =>
          error instanceof DaybookError && error.code === 'stream_not_authorised' ? [] : [problemOf(error)],
      );
    const partitions = topic.partitions === 1 ? '1 partition' : `${topic.partitions} partitions`;
    const said = `topic ${params.topic} is there: ${partitions}, records of up to ${inUnits(maxValueBytes)}`;
    return { found: [ok(said), ...found(mend), ...probed], maxValueBytes };
  } catch (error) {
    if (create === undefined || !(error instanceof DaybookError) || error.code !== 'stream_missing') throw error;
    const hint = 'Nothing to do, if that is wanted; else mend its name in DAYBOOK_STREAM.';
    return { found: [warning(`topic ${params.topic} is not there; daybook makes it as it starts`, hint)] };
  }
}

async function checkKinesis(params: KinesisParams): Promise<StreamFindings> {
  const client = await import('../stream/kinesis/client.ts');
  const { log, found } = openWarningCollector();
  const kinesis = client.openKinesisClient(params, client.writerTimeouts);
  const dated = noteDate(kinesis);
  try {
    const { maxRecordBytes } = await client.checkStream(kinesis, params, log, patienceMs);
    const said = `stream ${params.streamName} is there: records of up to ${inUnits(maxRecordBytes)}`;
    const clock = checkClock(dated(), 'that of Kinesis');
    return { found: [ok(said), ...found(mend), ...clock], maxValueBytes: maxRecordBytes };
  } finally {
    kinesis.destroy();
  }
}
