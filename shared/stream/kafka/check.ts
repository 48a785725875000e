/** A Kafka topic, for doctor. */
import { inUnits } from '../../doctor/check-files.ts';
import { mendStream, openWarningCollector } from '../../doctor/collect-warnings.ts';
import { ok, problemOf, warning } from '../../doctor/finding.ts';
import { DaybookError } from '../../errors.ts';
import type { StreamFindings } from '../driver.ts';
import { maxValueBytesOf } from './append.ts';
import { openKafka } from './client.ts';
import { proveTopic } from './prove.ts';
import type { KafkaParams } from './settings.ts';
import { checkTopic, probeTopic } from './topic.ts';

export async function checkKafka({ create, ...params }: KafkaParams): Promise<StreamFindings> {
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
    return { found: [ok(said), ...found(mendStream), ...probed], maxValueBytes };
  } catch (error) {
    if (create === undefined || !(error instanceof DaybookError) || error.code !== 'stream_missing') throw error;
    const hint = 'Nothing to do, if that is wanted; else mend its name in the settings.';
    return { found: [warning(`topic ${params.topic} is not there; daybook makes it as it starts`, hint)] };
  }
}
