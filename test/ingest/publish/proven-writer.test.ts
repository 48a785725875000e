import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { openProvenWriter } from '../../../ingest/publish/proven-writer.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { AppendError } from '../../../shared/stream/append-error.ts';
import { memoryWriter, startIngest, stripeEvent, stripeHeaders, until } from '../ingest-under-test.ts';

const log = pino({ level: 'silent' });
const records = [{ key: 'k', value: Buffer.from('v') }];
const unreadable = () => new DaybookError('stream_unreadable', { detail: 'a page is damaged' });

test('a stream that cannot be read back at the start is closed and refused', async () => {
  const writer = Object.assign(memoryWriter(), { proveError: unreadable() });
  await assert.rejects(openProvenWriter({ open: async () => writer, log }), { code: 'stream_unreadable' });
  assert.equal(writer.closed, true);
});

test('where it cannot be tried the stream is believed', async () => {
  const writer = Object.assign(memoryWriter(), { proveError: new DaybookError('stream_not_authorised') });
  const proven = await openProvenWriter({ open: async () => writer, log });
  await proven.append(records);
  assert.equal(writer.records.length, 1);
  await proven.close();
});

test('a stream that is found unreadable later takes nothing until it can be read again', async () => {
  const writer = memoryWriter();
  const proven = await openProvenWriter({ open: async () => writer, log, everyMs: 1 });
  await proven.append(records);
  writer.proveError = unreadable();
  await until(() =>
    proven.probe().then(
      () => false,
      () => true,
    ),
  );
  await assert.rejects(proven.append(records), (error) => {
    assert.ok(error instanceof AppendError);
    // Not of the record: it must not become a dead letter.
    assert.deepEqual([error.unacknowledged, error.refused, error.retry], [[0], [], false]);
    return true;
  });
  await assert.rejects(proven.probe(), { code: 'stream_unreadable' });
  writer.proveError = undefined;
  await until(() =>
    proven.probe().then(
      () => true,
      () => false,
    ),
  );
  await proven.append(records);
  assert.equal(writer.records.length, 2);
  await proven.close();
});

test('while the stream cannot be read back events are answered 200 from the spool, readyz says 503, and they go out later', async (t) => {
  const writer = memoryWriter();
  const proven = await openProvenWriter({ open: async () => writer, log, everyMs: 5 });
  const ingest = await startIngest({ writer: proven });
  t.after(() => ingest.close());
  const send = async (id: string) => {
    const body = JSON.stringify(stripeEvent({ id }));
    return (await fetch(`${ingest.url}/webhooks/platform`, { method: 'POST', headers: stripeHeaders(body), body }))
      .status;
  };
  writer.proveError = unreadable();
  await until(() =>
    proven.probe().then(
      () => false,
      () => true,
    ),
  );
  assert.equal(await send('evt_1'), 200);
  assert.equal(writer.records.length, 0);
  const ready = async () => (await fetch(`${ingest.url}/readyz`)).status;
  await until(async () => (await ready()) === 503);
  assert.equal(await send('evt_2'), 200);
  writer.proveError = undefined;
  await until(() => writer.records.length === 2);
  await until(async () => (await ready()) === 200);
});
