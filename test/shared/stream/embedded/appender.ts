/**
 * A process that appends to the embedded stream of a directory: `appender.ts DIRECTORY [COUNT]`, COUNT calls for each key
 * (without: no end). What it appends and prints is told in test/contract/event-stream.ts. It ends with 3, and the error's
 * `code retry` on stderr, when an append is refused.
 */
import { AppendError } from '../../../../shared/stream/append-error.ts';
import { openEmbeddedWriter } from '../../../../shared/stream/embedded/embedded.ts';
import type { AppendRecord } from '../../../../shared/stream/stream.ts';

const [directory, count = Number.POSITIVE_INFINITY] = process.argv.slice(2);
const writer = await openEmbeddedWriter({ directory: directory! });
const padding = ' '.repeat(3_000);
const keys = ['a', 'b', 'c', 'd'];

/** A file that another process keeps locked took nothing, so the call may be made again. */
async function appendOnce(record: AppendRecord): Promise<void> {
  for (;;) {
    try {
      return await writer.append([record]);
    } catch (error) {
      if (!(error instanceof AppendError) || !String(error.cause).includes('locked')) throw error;
    }
  }
}

async function appendAll(key: string): Promise<void> {
  for (let number = 0; number < Number(count); number++) {
    await appendOnce({ key, value: Buffer.from(`${key} ${number} ${padding}`) });
    if (!process.stdout.write(`${key} ${number}\n`))
      await new Promise((resolve) => process.stdout.once('drain', resolve));
    await new Promise(setImmediate);
  }
}

try {
  await Promise.all(keys.map(appendAll));
} catch (error) {
  if (!(error instanceof AppendError)) throw error;
  process.stderr.write(`${error.code} ${error.retry}\n`);
  process.exitCode = 3;
} finally {
  await writer.close();
}
