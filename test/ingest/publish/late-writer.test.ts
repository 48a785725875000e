import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { openLateWriter } from '../../../ingest/publish/late-writer.ts';
import { openProvenWriter } from '../../../ingest/publish/proven-writer.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { openEmbeddedWriter } from '../../../shared/stream/embedded/embedded.ts';

const log = pino({ level: 'silent' });
const record = { key: 'platform', value: Buffer.from('{}') };

test('a stream file that is damaged at the start: records are refused, who asks is told, and it opens once it is mended', async (t) => {
  const directory = fs.mkdtempSync(join(tmpdir(), 'daybook-late-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const path = join(directory, 'stream.sqlite');
  fs.writeFileSync(path, Buffer.alloc(8192, 7));
  const mended = Promise.withResolvers<void>();
  let tries = 0;
  const open = async () => {
    if (tries++ > 0) await mended.promise;
    return openProvenWriter({ open: () => openEmbeddedWriter({ directory }), log });
  };
  const onRefused = () => assert.fail('ended');
  const opened = Promise.withResolvers<void>();
  const heard = pino(
    { level: 'info' },
    { write: (line) => void (line.includes('the stream is open') && opened.resolve()) },
  );
  const writer = await openLateWriter({ open, log: heard, onRefused, minPauseMs: 1 });
  t.after(() => writer.close());
  assert.equal(writer.isOpen(), false);
  await assert.rejects(writer.append([record]), { code: 'stream_unavailable', message: /not a database/ });
  await assert.rejects(writer.probe(), { code: 'stream_unreadable', message: /not a database/ });
  fs.rmSync(path);
  mended.resolve();
  await opened.promise;
  await writer.append([record]);
});

test('a stream that refuses for good at the start ends it', async () => {
  const open = async () => {
    throw new DaybookError('stream_missing');
  };
  await assert.rejects(openLateWriter({ open, log, onRefused: () => assert.fail('told twice') }), {
    code: 'stream_missing',
  });
});
