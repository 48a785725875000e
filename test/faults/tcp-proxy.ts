/** A TCP proxy of 127.0.0.1 that breaks connections in the ways that networks and hosts do. */
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';

/**
 * `pass`: everything goes through. `refuse`: connections are cut, new ones too. `hang`: nothing moves, nothing is cut; it
 * moves on when that is over. `swallow`: the same, but connections of that time never move again, as where a firewall has
 * forgotten them. `lose-answers`: what the client sends arrives; answers are lost, and the connection is cut, but for the
 * first few. `hold-answers`: what the client sends arrives; answers wait until that is over. `slow`: 1 KB/s each way.
 */
export type ProxyMode = 'pass' | 'refuse' | 'hang' | 'swallow' | 'lose-answers' | 'hold-answers' | 'slow';

export interface TcpProxy {
  /** `answers`: how many get through before they are lost. */
  set(mode: ProxyMode, answers?: number): void;
  close(): Promise<void>;
}

/** One direction of a connection. */
interface Way {
  readonly from: Socket;
  readonly to: Socket;
  readonly isAnswers: boolean;
  /** What was read and is not written yet: while slow. */
  pending: Buffer;
  timer: NodeJS.Timeout | undefined;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  readonly ways: readonly Way[];
  isSwallowed: boolean;
}

const slowBytes = 100;
const slowStepMs = 100;

export async function openTcpProxy(port: number, targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let mode: ProxyMode = 'pass';
  let answersLeft = 0;

  function cut(pair: Pair): void {
    pair.client.destroy();
    pair.server.destroy();
    pairs.delete(pair);
  }

  /** Lets each direction of a connection move, or not, as the mode says. */
  function follow(pair: Pair): void {
    if (mode === 'refuse') {
      cut(pair);
      return;
    }
    pair.isSwallowed ||= mode === 'swallow';
    for (const way of pair.ways) {
      clearTimeout(way.timer);
      const isStill = pair.isSwallowed || mode === 'hang' || (mode === 'hold-answers' && way.isAnswers);
      if (isStill) way.from.pause();
      else if (mode === 'slow') trickle(way);
      else {
        if (way.pending.length > 0) way.to.write(way.pending);
        way.pending = Buffer.alloc(0);
        way.from.resume();
      }
    }
  }

  function carry(pair: Pair, way: Way, bytes: Buffer): void {
    if (mode === 'lose-answers' && way.isAnswers && answersLeft-- <= 0) {
      cut(pair);
      return;
    }
    if (mode !== 'slow') {
      way.to.write(bytes);
      return;
    }
    // It may hold some of before, where it was stopped while slow.
    way.pending = Buffer.concat([way.pending, bytes]);
    clearTimeout(way.timer);
    trickle(way);
  }

  function trickle(way: Way): void {
    if (way.to.destroyed) return;
    if (way.pending.length === 0) {
      way.from.resume();
      return;
    }
    way.from.pause();
    way.to.write(way.pending.subarray(0, slowBytes));
    way.pending = way.pending.subarray(slowBytes);
    way.timer = setTimeout(trickle, slowStepMs, way);
  }

  const proxy = createServer((client) => {
    if (mode === 'refuse') return client.destroy();
    const server = createConnection(targetPort, '127.0.0.1');
    const asking: Way = { from: client, to: server, isAnswers: false, pending: Buffer.alloc(0), timer: undefined };
    const answering: Way = { from: server, to: client, isAnswers: true, pending: Buffer.alloc(0), timer: undefined };
    const pair: Pair = { client, server, ways: [asking, answering], isSwallowed: false };
    pairs.add(pair);
    for (const way of pair.ways) {
      way.from.on('error', () => cut(pair));
      way.from.on('close', () => cut(pair));
      way.from.on('data', (bytes) => carry(pair, way, bytes));
    }
    follow(pair);
  }).listen(port, '127.0.0.1');
  await once(proxy, 'listening');

  return {
    set(next, answers = 0) {
      mode = next;
      answersLeft = answers;
      for (const pair of pairs) follow(pair);
    },
    async close() {
      for (const pair of pairs) cut(pair);
      await once(proxy.close(), 'close');
    },
  };
}
