import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { openBodyBudget, readBody } from '../../../ingest/receive/read-body.ts';

/** As much of a request as is looked at. */
function requestOf(headers: Record<string, string> = {}): PassThrough & IncomingMessage {
  return Object.assign(new PassThrough(), { headers }) as unknown as PassThrough & IncomingMessage;
}

const codeOf = (reading: Promise<unknown>) =>
  reading.then(
    () => 'ok',
    (error) => error.code as string,
  );

test('however a body is cut into chunks, it is read as one, to the byte', async () => {
  const chunk = fc.uint8Array({ minLength: 1, maxLength: 3000 });
  await fc.assert(
    fc.asyncProperty(fc.array(chunk, { maxLength: 40 }), async (chunks) => {
      const request = requestOf();
      const reading = readBody(request, 1_000_000, openBodyBudget(1_000_000));
      for (const part of chunks) request.write(part);
      request.end();
      assert.deepEqual(await reading, Buffer.concat(chunks));
    }),
    { numRuns: 50 },
  );
});

test('a body announced too large is refused before a byte of it is read', async () => {
  const request = requestOf({ 'content-length': '101' });
  assert.equal(await codeOf(readBody(request, 100, openBodyBudget(1000))), 'body_too_large');
  assert.equal(request.listenerCount('data'), 0);
});

test('bodies share one budget: what arrived counts, what was announced does not, and refusals give all back', async () => {
  const budget = openBodyBudget(1000);
  const announced = Array.from({ length: 50 }, () => readBody(requestOf({ 'content-length': '900' }), 900, budget));
  const first = requestOf();
  const reading = readBody(first, 900, budget);
  first.write(Buffer.alloc(600));
  const second = requestOf();
  const refused = codeOf(readBody(second, 900, budget));
  second.write(Buffer.alloc(300));
  second.write(Buffer.alloc(300));
  assert.equal(await refused, 'overloaded');
  const third = requestOf();
  const tooLarge = codeOf(readBody(third, 350, budget));
  third.write(Buffer.alloc(300));
  third.write(Buffer.alloc(100));
  assert.equal(await tooLarge, 'body_too_large');
  const fourth = requestOf();
  const gone = codeOf(readBody(fourth, 900, budget));
  fourth.write(Buffer.alloc(400));
  fourth.destroy();
  assert.equal(await gone, 'request_aborted');
  first.end();
  assert.equal((await reading).length, 600);
  budget.giveBack(600);
  assert.ok(budget.take(1000), 'all was given back');
  assert.equal(announced.length, 50);
});

test('a body of one-byte chunks costs its bytes, not an object for each', async () => {
  const request = requestOf();
  const reading = readBody(request, 1_000_000, openBodyBudget(1_000_000));
  for (let byte = 0; byte < 20_000; byte++) request.write(Buffer.of(byte & 0xff));
  request.end();
  const body = await reading;
  assert.equal(body.length, 20_000);
  assert.ok(body.buffer.byteLength <= 80_000, `${body.buffer.byteLength} bytes are held`);
});
