import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { openBodyBudget, readBody } from '../../../ingest/receive/read-body.ts';
import { openUnfinishedBodies, peerOf } from '../../../ingest/receive/unfinished-bodies.ts';

/** As much of a request as is looked at. */
function requestOf(headers: Record<string, string> = {}): PassThrough & IncomingMessage {
  return Object.assign(new PassThrough(), { headers }) as unknown as PassThrough & IncomingMessage;
}

const budgetOf = (bytes: number) => openBodyBudget({ maxBytes: bytes, maxUnfinishedBytes: bytes });

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
      const reading = readBody(request, 1_000_000, budgetOf(1_000_000));
      for (const part of chunks) request.write(part);
      request.end();
      assert.deepEqual(await reading, Buffer.concat(chunks));
    }),
    { numRuns: 50 },
  );
});

test('a body announced too large is refused before a byte of it is read', async () => {
  const request = requestOf({ 'content-length': '101' });
  assert.equal(await codeOf(readBody(request, 100, budgetOf(1000))), 'body_too_large');
  assert.equal(request.listenerCount('data'), 0);
});

test('what arrived counts, what was announced does not, and every end of a body gives all back', async () => {
  const budget = budgetOf(10_000_000);
  const { unfinished } = budget;
  const open = requestOf({ 'content-length': '900000' });
  const reading = readBody(open, 900_000, budget);
  const connection = unfinished.heldBytes();
  assert.ok(connection < 32_768, `${connection} bytes count for a request of which nothing came`);
  open.write(Buffer.alloc(600_000));
  assert.equal(unfinished.heldBytes(), connection + 600_000);
  const large = requestOf();
  const tooLarge = codeOf(readBody(large, 350, budget));
  large.write(Buffer.alloc(300));
  large.write(Buffer.alloc(100));
  assert.equal(await tooLarge, 'body_too_large');
  const left = requestOf();
  const gone = codeOf(readBody(left, 900, budget));
  left.write(Buffer.alloc(400));
  left.destroy();
  assert.equal(await gone, 'request_aborted');
  open.end();
  assert.equal((await reading).length, 600_000);
  assert.equal(unfinished.heldBytes(), 0);
  assert.ok(!budget.take(9_400_001), 'the whole body waits for the stream');
  budget.giveBack(600_000);
  assert.ok(budget.take(10_000_000), 'all was given back');
});

test('a body that is whole and finds no room is refused', async () => {
  const budget = openBodyBudget({ maxBytes: 500, maxUnfinishedBytes: 1_000_000 });
  const request = requestOf();
  const refused = codeOf(readBody(request, 900, budget));
  request.end(Buffer.alloc(501));
  assert.equal(await refused, 'overloaded');
  assert.deepEqual([budget.unfinished.heldBytes(), budget.take(500)], [0, true]);
});

test('where room runs out, half-sent bodies are cut, and each sender that sends at once gets through', async () => {
  const budget = openBodyBudget({ maxBytes: 1_000_000, maxUnfinishedBytes: 2_000_000 });
  const halves = Array.from({ length: 200 }, () => {
    const request = requestOf();
    const ended = codeOf(readBody(request, 100_000, budget));
    request.write(Buffer.alloc(20_000));
    return { request, ended };
  });
  for (let sent = 0; sent < 50; sent++) {
    const request = requestOf();
    const reading = codeOf(readBody(request, 100_000, budget));
    for (let chunk = 0; chunk < 4; chunk++) request.write(Buffer.alloc(5_000));
    request.end();
    assert.equal(await reading, 'ok');
    budget.giveBack(20_000);
    assert.ok(budget.unfinished.heldBytes() <= 2_000_000);
  }
  for (const { request } of halves) request.destroy();
  const codes = await Promise.all(halves.map(({ ended }) => ended));
  assert.ok(codes.filter((code) => code === 'overloaded').length > 140, codes.join());
  assert.equal(budget.unfinished.heldBytes(), 0);
});

/** Bodies as they come, until one is cut; the names of those that are. */
function firstCut(
  come: (begin: (name: string, address: string, bytes: number) => void, pass: (ms: number) => void) => void,
) {
  let nowMs = 0;
  const cut: string[] = [];
  const bodies = openUnfinishedBodies(1_000_000, () => nowMs);
  come(
    (name, address, bytes) => {
      const body = bodies.begin(address, 0, () => {
        cut.push(name);
      });
      bodies.hold(body, bytes);
    },
    (ms) => {
      nowMs += ms;
    },
  );
  return [...new Set(cut)];
}

test('the first to be cut keeps more, or for longer, or is of the peer that keeps most', () => {
  const keepsMore = firstCut((begin) => {
    for (let index = 0; index < 10; index++) begin('small', '192.0.2.1', 10_000);
    for (let index = 0; index < 8; index++) begin('large', '192.0.2.1', 90_000);
  });
  assert.deepEqual(keepsMore, ['large']);

  const keepsForLonger = firstCut((begin, pass) => {
    for (let index = 0; index < 10; index++) begin('old', '192.0.2.1', 20_000);
    pass(1000);
    for (let index = 0; index < 12; index++) begin('young', '192.0.2.1', 40_000);
  });
  assert.deepEqual(keepsForLonger, ['old']);

  const ofThePeerThatKeepsMost = firstCut((begin, pass) => {
    begin('alone', '198.51.100.7', 30_000);
    pass(10);
    // Addresses of one network are one peer.
    for (let index = 0; index < 20; index++) begin('flood', `2001:db8:1:2::${index}`, 40_000);
  });
  assert.deepEqual(ofThePeerThatKeepsMost, ['flood']);
});

test('a peer is an IPv4 address or the 64 bits of a network', () => {
  for (const [address, peer] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::5', '2001:db8:1:2'],
    ['2001:db8::5', '2001:db8:0:0'],
    ['2001:db8::1:2:3:4:5', '2001:db8:0:1'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['1::', '1:0:0:0'],
    [undefined, ''],
  ] as const) {
    assert.equal(peerOf(address), peer, address);
  }
});

test('a body of one-byte chunks costs its bytes, not an object for each', async () => {
  const request = requestOf();
  const reading = readBody(request, 1_000_000, budgetOf(1_000_000));
  for (let byte = 0; byte < 20_000; byte++) request.write(Buffer.of(byte & 0xff));
  request.end();
  const body = await reading;
  assert.equal(body.length, 20_000);
  assert.ok(body.buffer.byteLength <= 80_000, `${body.buffer.byteLength} bytes are held`);
});
