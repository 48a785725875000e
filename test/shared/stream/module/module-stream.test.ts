import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { systemClock } from '../../../../shared/clock.ts';
import { AppendError } from '../../../../shared/stream/append-error.ts';
import { checkDriver, openReader, openWriter } from '../../../../shared/stream/open.ts';
import { streamSchema } from '../../../../shared/stream/streams.ts';
import { eventStreamContract, record } from '../../../contract/event-stream.ts';

const path = join(import.meta.dirname, 'own-stream.ts');
const log = pino({ level: 'silent' });
const newFolder = () => mkdtemp(join(tmpdir(), 'daybook-own-stream-'));
const settingsOf = (params: object) => streamSchema.parse({ type: 'module', params });

eventStreamContract('module stream', async () => {
  const folder = await newFolder();
  const settings = settingsOf({ path, params: { folder } });
  return {
    openWriter: () => openWriter(settings, 'unused', log),
    openReader: (consumer) => openReader(settings, 'unused', { consumer, clock: systemClock, log }),
    keepsCommitted: true,
    remove: () => rm(folder, { recursive: true }),
  };
});

test('module stream: errors without any class of ours are told by their code, and per record', async (t) => {
  const folder = await newFolder();
  t.after(() => rm(folder, { recursive: true }));
  const writer = await openWriter(settingsOf({ path, params: { folder, isBroken: true } }), 'unused', log);
  t.after(() => writer.close());
  await assert.rejects(writer.append([record('a', '1'), record('a', '2')]), (error) => {
    assert.ok(error instanceof AppendError);
    assert.deepEqual([error.unacknowledged, error.refused, error.retry], [[1], [1], false]);
    assert.match(error.message, /the tape is torn/);
    return true;
  });
  await assert.rejects(writer.prove(), { name: 'DaybookError', code: 'stream_unsuitable', message: 'no tape' });
  await assert.rejects(writer.probe(), { name: 'DaybookError', code: 'stream_unavailable', retry: true });
});

test('module stream: doctor reads it, and what is no such module is told as a wrong configuration', async (t) => {
  const folder = await newFolder();
  t.after(() => rm(folder, { recursive: true }));
  await (await openWriter(settingsOf({ path, params: { folder } }), 'unused', log)).close();
  const { found } = await checkDriver(settingsOf({ path, params: { folder } }), 'unused');
  assert.match(found[0]!.message, /can be read: \d+ partitions/);

  const half = join(folder, 'half.mjs');
  await writeFile(half, 'export const openWriter = () => {};');
  const torn = join(folder, 'torn.mjs');
  await writeFile(torn, 'export const openWriter = ');
  for (const [wrong, message] of [
    [half, /does not export a function openReader/],
    [torn, /cannot be loaded/],
  ] as const) {
    await assert.rejects(openWriter(settingsOf({ path: wrong }), 'unused', log), {
      code: 'configuration_invalid',
      message,
    });
  }
  assert.match(
    streamSchema.safeParse({ type: 'module', params: { path: join(folder, 'none') } }).error!.message,
    /is not a file/,
  );
});
