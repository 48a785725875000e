import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkStream } from '../../../shared/stream/check.ts';
import { openEmbeddedWriter } from '../../../shared/stream/embedded/embedded.ts';

const directory = await mkdtemp(join(tmpdir(), 'daybook-check-stream-'));
after(() => rm(directory, { recursive: true }));

test('an embedded stream is opened where it is there, and not made where it is not', async () => {
  const data = join(directory, 'data');
  assert.match((await checkStream({ type: 'embedded' }, data, false)).found[0]!.message, /is not there yet/);
  assert.match((await checkStream({ type: 'embedded' }, data, false)).found[0]!.message, /is not there yet/);
  await (await openEmbeddedWriter({ directory: data })).close();
  const { found } = await checkStream({ type: 'embedded' }, data, false);
  assert.deepEqual(
    found.map(({ status }) => status),
    ['ok', 'ok', 'ok'],
  );
  await writeFile(join(data, 'stream.sqlite'), 'no database at all, only text that is long enough to be looked at');
  await assert.rejects(checkStream({ type: 'embedded' }, data, false), { code: 'stream_damaged' });
});

test('brokers and services that do not answer reject as the stream does', async () => {
  const kafka = { type: 'kafka' as const, params: { brokers: ['127.0.0.1:1'], topic: 't' } };
  await assert.rejects(checkStream(kafka, directory, true), { code: 'stream_unavailable' });
});
