/** kafkajs as daybook uses it: how long it waits, its log lines on pino, its false warnings gone. */
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin, type Kafka, type KafkaConfig } from 'kafkajs';
import type { Logger } from '../../program/log.ts';
import { readEveryCodec } from './codecs.ts';
import { mendKafkajs } from './internals.ts';
import { saslOf } from './sasl.ts';
import type { KafkaParams } from './settings.ts';

/** Within this time a request to a broker is answered or given up: a broker that hangs is left, not waited for. */
const requestTimeoutMs = 11_000;

export function kafkaConfigOf({ brokers, ssl, sasl }: KafkaParams, log: Logger): KafkaConfig {
  return {
    brokers,
    clientId: 'daybook',
    connectionTimeout: 3_000,
    requestTimeout: requestTimeoutMs,
    // Of connecting and of metadata; every broker named is tried.
    retry: { initialRetryTime: 100, multiplier: 2, maxRetryTime: 1_000, retries: Math.max(3, brokers.length) },
    ...(ssl === undefined ? {} : { ssl: typeof ssl === 'boolean' ? ssl : withoutUndefined(ssl) }),
    ...(sasl === undefined ? {} : { sasl: saslOf(sasl) }),
    logLevel: kafkajs.logLevel.INFO,
    logCreator: logTo(log),
  };
}

export function openKafka(params: KafkaParams, log: Logger): Kafka {
  mendKafkajs();
  readEveryCodec();
  return new kafkajs.Kafka(kafkaConfigOf(params, log));
}

/** Runs `work` on a connection of its own, so that what it sees does not come from one that broke unseen. */
export async function withAdmin<T>(kafka: Kafka, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Repeats work that fails in a way that may pass, with growing pauses, for as long as `patienceMs`. */
export async function patiently<T>(
  work: () => Promise<T>,
  mayPass: (error: unknown) => boolean,
  patienceMs: number,
): Promise<T> {
  const startedMs = performance.now();
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    try {
      return await work();
    } catch (error) {
      if (!mayPass(error) || performance.now() - startedMs > patienceMs) throw error;
      await sleep(pauseMs);
    }
  }
}

/**
 * kafkajs calls errors what it tries again by itself, and what is asked on purpose (whether a topic is there). What
 * comes of them the driver says itself, so they are for debugging alone. Stacks and payloads stay out.
 */
function logTo(log: Logger): NonNullable<KafkaConfig['logCreator']> {
  return () =>
    ({ namespace, level, log: { message, broker, error } }) => {
      log[level === kafkajs.logLevel.WARN ? 'warn' : 'debug']({ kafkajs: namespace, broker, error }, message);
    };
}

function withoutUndefined<T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}
