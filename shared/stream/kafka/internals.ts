/**
 * The one place that reaches behind kafkajs's public face (version 2.2.4, pinned exactly; it has had no release since
 * February 2023). Three things need it:
 * - reading from a given offset without joining a group. kafkajs's consumer always joins one, so that a second
 *   compactor takes half of the partitions away from the first; it goes on elsewhere, silently, where an offset has
 *   aged out; and it does not say where a partition ends in offsets that hold no record. Its admin commits offsets only
 *   by joining, too, and hides why it finds no coordinator.
 * - the bytes of a produce request: kafkajs copies each record seven times, into buffers that it fills with zeros first,
 *   and takes the checksum byte by byte: two thirds of what an append of 64 records cost.
 * - its request queue, which asks for a timer of negative length after every answer (its issue 1751): Node 24 warns of
 *   it, and each makes a timer of 1 ms for nothing.
 */
import type { KafkaConfig, Logger } from 'kafkajs';
// @ts-expect-error kafkajs has no types for its inside
import Cluster from 'kafkajs/src/cluster/index.js';
// @ts-expect-error kafkajs has no types for its inside
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
// @ts-expect-error kafkajs has no types for its inside
import createSocketFactory from 'kafkajs/src/network/socketFactory.js';
// @ts-expect-error kafkajs has no types for its inside
import produceRequests from 'kafkajs/src/protocol/requests/produce/index.js';
import { encodeProduce, isPlain, type ProduceRequest } from './record-batch.ts';

export interface FetchedRecord {
  readonly offset: string;
  /** ms since the epoch: when it was sent, or, where the topic is set so, when the broker took it. */
  readonly timestamp: string;
  readonly value: Buffer | null;
  /** Marks of transactions: no records of anybody. */
  readonly isControlRecord: boolean;
}

interface FetchedPartition {
  readonly messages: readonly FetchedRecord[];
}

interface PartitionRequest {
  readonly partition: number;
  readonly fetchOffset: string;
  readonly maxBytes: number;
}

interface CommittedOffset {
  readonly partition: number;
  readonly offset: string;
  readonly metadata: string | null;
}

interface OfTopic<T> {
  readonly topic: string;
  readonly partitions: readonly T[];
}

/** Generation -1 and no member: offsets of a group that has no members, as the protocol has it for such users. */
export interface KafkaBroker {
  /** Rejects with KafkaJSOffsetOutOfRange where the offset is below the oldest kept or above the end. */
  fetch(request: {
    readonly replicaId: -1;
    /** 0: uncommitted. */
    readonly isolationLevel: 0;
    readonly maxWaitTime: number;
    readonly minBytes: number;
    readonly maxBytes: number;
    readonly topics: readonly OfTopic<PartitionRequest>[];
  }): Promise<{ readonly responses: readonly { readonly partitions: readonly FetchedPartition[] }[] }>;
  findGroupCoordinator(request: {
    readonly groupId: string;
    /** 0: of a consumer group. */
    readonly coordinatorType: 0;
  }): Promise<{ readonly coordinator: { readonly nodeId: number } }>;
  /** An offset is -1 where none is committed. */
  offsetFetch(request: {
    readonly groupId: string;
    readonly topics: readonly OfTopic<{ readonly partition: number }>[];
  }): Promise<{ readonly responses: readonly OfTopic<CommittedOffset>[] }>;
  offsetCommit(request: {
    readonly groupId: string;
    readonly groupGenerationId: -1;
    readonly memberId: '';
    readonly retentionTime: -1;
    readonly topics: readonly OfTopic<CommittedOffset>[];
  }): Promise<unknown>;
}

export interface KafkaCluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  refreshMetadataIfNecessary(): Promise<void>;
  /** The partitions by the id of the broker that leads them; a partition that is not known is left out. */
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Record<string, number[]>;
  findBroker(broker: { readonly nodeId: string }): Promise<KafkaBroker>;
  findTopicPartitionMetadata(topic: string): readonly { readonly partitionId: number }[];
}

/** A connection to the brokers. Opens nothing before `connect`. */
export function createCluster(config: KafkaConfig, logger: Logger): KafkaCluster {
  return new Cluster({
    ...config,
    logger,
    socketFactory: createSocketFactory(),
    enforceRequestTimeout: true,
    metadataMaxAge: 60_000,
    allowAutoTopicCreation: false,
    maxInFlightRequests: null,
  });
}

let mended = false;

/** To be called before kafkajs is used. May be called again. */
export function mendKafkajs(): void {
  if (mended) return;
  mended = true;
  mendRequestQueue();
  mendProduce();
}

/** Lets kafkajs look after its waiting requests only where there are some: the rest of its check is left as it is. */
function mendRequestQueue(): void {
  const queue: { scheduleCheckPendingRequests(this: { pending: readonly unknown[] }): void } = RequestQueue.prototype;
  const schedule = queue.scheduleCheckPendingRequests;
  queue.scheduleCheckPendingRequests = function (this) {
    if (this.pending.length > 0) schedule.call(this);
  };
}

type ProduceVersion = (request: ProduceRequest) => {
  readonly request: { encode(): Promise<{ readonly buffer: Buffer }> };
  readonly response: unknown;
};

/** The first version of the request whose records are batches. Up to the last that kafkajs knows its shape stays. */
const firstWithBatches = 3;

/** Requests as daybook's writer makes them are encoded here. What others make in this process is left to kafkajs. */
function mendProduce(): void {
  const requests: { protocol(wanted: { readonly version: number }): ProduceVersion } = produceRequests;
  const { protocol } = requests;
  requests.protocol = ({ version }) => {
    const make = protocol({ version });
    if (version < firstWithBatches) return make;
    return (options) => {
      const { request, response } = make(options);
      if (!isPlain(options)) return { request, response };
      const encode = async () => {
        const buffer = encodeProduce(options, Date.now());
        // What kafkajs looks at in one of its encoders.
        return { buf: buffer, buffer };
      };
      return { request: { ...request, encode }, response };
    };
  };
}
