/** A Kinesis stream, for doctor. */
import { checkClock } from '../../doctor/check-clock.ts';
import { inUnits } from '../../doctor/check-files.ts';
import { mendStream, openWarningCollector } from '../../doctor/collect-warnings.ts';
import { ok } from '../../doctor/finding.ts';
import { noteDate } from '../../http/note-date.ts';
import type { StreamFindings } from '../driver.ts';
import { checkStream, openKinesisClient, writerTimeouts } from './client.ts';
import type { KinesisParams } from './settings.ts';

const patienceMs = 5_000;

export async function checkKinesis(params: KinesisParams): Promise<StreamFindings> {
  const { log, found } = openWarningCollector();
  const kinesis = openKinesisClient(params, writerTimeouts);
  const dated = noteDate(kinesis);
  try {
    const { maxRecordBytes } = await checkStream(kinesis, params, log, patienceMs);
    const said = `stream ${params.streamName} is there: records of up to ${inUnits(maxRecordBytes)}`;
    const clock = checkClock(dated(), 'that of Kinesis');
    return { found: [ok(said), ...found(mendStream), ...clock], maxValueBytes: maxRecordBytes };
  } finally {
    kinesis.destroy();
  }
}
