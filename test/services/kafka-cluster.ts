/** Three Kafka brokers of which tests may stop and kill each: replication factor 3, min.insync.replicas 2. */
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, type Service, startService } from './service.ts';

export interface KafkaCluster {
  readonly brokers: readonly string[];
  /** Ends node 1, 2 or 3: SIGKILL as a crash, SIGTERM handing its leaderships over. Resolves when it is gone. */
  end(node: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Starts a node that was ended; resolves when it serves. */
  start(node: number): Promise<void>;
  stop(): Promise<void>;
}

interface Facts {
  readonly broker: string;
  readonly pid: number;
}

const nodes = [1, 2, 3];

/** Undefined, with the file's tests skipped, where Kafka is not installed. To be called at the top of a test file. */
export async function startKafkaCluster(): Promise<KafkaCluster | undefined> {
  const folder = await fs.mkdtemp(join(tmpdir(), 'daybook-kafka-'));
  const ports = await freePorts(2 * nodes.length);
  const open = (node: number) => startService<Facts>('kafka3.sh', [folder, `${node}`, ...ports.map(String)]);
  const running = new Map<number, Service<Facts>>();
  // All at once: a node is ready only with a second one.
  for (const [index, service] of (await Promise.all(nodes.map(open))).entries()) {
    if (service !== undefined) running.set(nodes[index]!, service);
  }
  const stop = async () => {
    // Killed: the last of them would wait for the others to take its leaderships over.
    for (const { facts } of running.values()) process.kill(facts.pid, 'SIGKILL');
    await Promise.all([...running.values()].map(({ ended }) => ended));
    await fs.rm(folder, { recursive: true, force: true });
  };
  if (running.size < nodes.length) {
    await stop();
    return undefined;
  }
  return {
    brokers: [...running.values()].map(({ facts }) => facts.broker),
    async end(node, signal) {
      const { facts, ended } = running.get(node)!;
      running.delete(node);
      process.kill(facts.pid, signal);
      await ended;
    },
    async start(node) {
      running.set(node, (await open(node))!);
    },
    stop,
  };
}
