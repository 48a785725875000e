import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { boundIdleConnections } from '../../../ingest/receive/idle-connections.ts';

test('beyond the bound the idle connection whose last request is the longest ago is cut, and none with a request in hand', async () => {
  const waiting: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === '/wait') waiting.push(response);
    else response.end('ok');
  });
  boundIdleConnections(server, 3);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets: Socket[] = [];
  const open = async (text: string) => {
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    const accepted = once(server, 'connection');
    socket.write(text);
    await accepted;
    return socket;
  };
  const isOpen = (socket: Socket) => !socket.destroyed;

  const busy = await open('GET /wait HTTP/1.1\r\nhost: x\r\n\r\n');
  while (waiting.length === 0) await new Promise(setImmediate);
  const second = await open('GET / HTTP/1.1\r\nhost: x\r\n');
  const first = await open('GET / HT');
  // The older connection, with the newer request: the other one goes before it.
  second.write('\r\n');
  await once(second, 'data');
  await open('GET / HT');
  const firstGone = once(first.resume(), 'close');
  await open('GET / HT');
  await firstGone;
  const secondGone = once(second.resume(), 'close');
  await open('GET / HT');
  await secondGone;
  assert.deepEqual([first, second, busy, ...sockets.slice(3)].map(isOpen), [false, false, true, true, true, true]);
  waiting[0]!.end('done');
  await once(busy, 'data');
  for (const socket of sockets) socket.destroy();
  server.close();
});
