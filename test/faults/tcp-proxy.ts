/** A TCP proxy of 127.0.0.1 that breaks connections in the ways that networks do. */
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';

/**
 * `pass`: everything goes through. `refuse`: connections are cut, new ones too. `hang`: nothing moves, nothing is cut.
 * `lose-answers`: what the client sends arrives; answers are lost, and the connection is cut, but for the first few.
 */
export type ProxyMode = 'pass' | 'refuse' | 'hang' | 'lose-answers';

export interface TcpProxy {
  /** `answers`: how many get through before they are lost. */
  set(mode: ProxyMode, answers?: number): void;
  close(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

export async function openTcpProxy(port: number, targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let mode: ProxyMode = 'pass';
  let answersLeft = 0;

  function cut(pair: Pair): void {
    pair.client.destroy();
    pair.server.destroy();
    pairs.delete(pair);
  }

  const proxy = createServer((client) => {
    if (mode === 'refuse') return client.destroy();
    const pair: Pair = { client, server: createConnection(targetPort, '127.0.0.1') };
    pairs.add(pair);
    const { server } = pair;
    for (const socket of [client, server]) {
      socket.on('error', () => cut(pair));
      socket.on('close', () => cut(pair));
      if (mode === 'hang') socket.pause();
    }
    client.on('data', (bytes) => server.write(bytes));
    server.on('data', (bytes) => {
      if (mode === 'lose-answers' && answersLeft-- <= 0) cut(pair);
      else client.write(bytes);
    });
  }).listen(port, '127.0.0.1');
  await once(proxy, 'listening');

  return {
    set(next, answers = 0) {
      mode = next;
      answersLeft = answers;
      for (const pair of pairs) {
        if (mode === 'refuse') cut(pair);
        for (const socket of [pair.client, pair.server]) {
          if (mode === 'hang') socket.pause();
          else socket.resume();
        }
      }
    },
    async close() {
      for (const pair of pairs) cut(pair);
      await once(proxy.close(), 'close');
    },
  };
}
