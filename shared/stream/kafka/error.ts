/** What a failure of kafkajs means for the stream's user. */

import { DaybookError, messageOf } from '../../errors.ts';
import type { KafkaParams, KafkaSasl } from './settings.ts';

/**
 * `stream_unavailable` (with `retry` where it may pass), `stream_missing`, `stream_credentials_refused` or
 * `stream_not_authorised`. Never holds a password: kafkajs puts none into its messages.
 */
export function kafkaErrorOf(error: unknown, { topic, brokers, sasl }: KafkaParams): DaybookError {
  const known = ownErrorIn(error);
  if (known !== undefined) return known;
  const chain = causesOf(error);
  const has = (...names: readonly string[]) => chain.some(({ type, name }) => names.includes(type ?? name));
  if (has('KafkaJSSASLAuthenticationError', 'SASL_AUTHENTICATION_FAILED', 'UNSUPPORTED_SASL_MECHANISM')) {
    return new DaybookError('stream_credentials_refused', {
      detail: `the brokers refuse ${sasl === undefined ? 'a connection without credentials' : nameOf(sasl)}: ${messageOf(error)}`,
      hint: refusedHintOf(sasl),
      cause: error,
    });
  }
  for (const [type, detail, hint] of refusals(topic)) {
    if (has(type)) return new DaybookError('stream_not_authorised', { detail, hint, cause: error });
  }
  if (has('UNKNOWN_TOPIC_OR_PARTITION')) {
    return new DaybookError('stream_missing', {
      detail: `the brokers have no topic ${topic}`,
      hint: 'Create it, or give "create":{"partitions":…,"replicationFactor":…} in DAYBOOK_STREAM, or mend its name.',
      cause: error,
    });
  }
  const certificate = chain.find(({ code, message }) => isOfTls(`${code} ${message}`));
  if (certificate !== undefined) {
    // That comes over a system that was set up right, and goes again: no reason for ingest not to start.
    const isOfTime = /EXPIRED|NOT_YET_VALID/.test(`${certificate.code}`);
    return new DaybookError('stream_unavailable', {
      detail: `no TLS with ${brokers.join(', ')}: ${certificate.message}`,
      hint: isOfTime
        ? 'Renew the certificate that ran out (of the brokers, or ssl.cert in DAYBOOK_STREAM), or set the clocks right.'
        : 'Give ssl.ca in DAYBOOK_STREAM where the brokers have an authority of their own, and use the port that speaks TLS.',
      retry: isOfTime,
      cause: error,
    });
  }
  if (has('KafkaJSConnectionError', 'KafkaJSConnectionClosedError', 'KafkaJSRequestTimeoutError')) {
    return new DaybookError('stream_unavailable', {
      detail: `no answer from the brokers (${brokers.join(', ')} were given): ${messageOf(error)}`,
      hint: 'See whether the brokers run and can be reached, and whether that port asks for TLS (ssl) or credentials (sasl).',
      retry: true,
      cause: error,
    });
  }
  const type = chain.find((one) => one.type !== undefined)?.type;
  return new DaybookError('stream_unavailable', {
    detail: `Kafka, topic ${topic}: ${messageOf(error)}${type === undefined ? '' : ` (${type})`}`,
    retry: chain.at(-1)?.retriable !== false,
    cause: error,
  });
}

function nameOf(sasl: KafkaSasl): string {
  return 'username' in sasl ? `${sasl.username} by ${sasl.mechanism}` : sasl.mechanism;
}

/** What to do where the brokers refuse these credentials. */
export function refusedHintOf(sasl: KafkaSasl | undefined): string {
  switch (sasl?.mechanism) {
    case 'oauthbearer':
      return 'Compare issuer, audience, scope and end of the token with what the brokers ask for (sasl.oauthbearer.expected.…), and the clocks; and see whether this port takes OAUTHBEARER.';
    case 'aws-msk-iam':
      return 'Use the port for IAM (9098, from outside AWS 9198), and allow the role kafka-cluster:Connect on the cluster.';
    default:
      return 'Compare sasl of DAYBOOK_STREAM (mechanism, username, password) with what the brokers know.';
  }
}

/** What the driver itself found, below what kafkajs put around it. */
function ownErrorIn(error: unknown): DaybookError | undefined {
  for (let one = error, depth = 0; one instanceof Error && depth < 10; one = one.cause, depth++) {
    if (one instanceof DaybookError) return one;
  }
  return undefined;
}

/** Whether the record itself, not the stream, is why it was not taken: a repeat will not help. */
export function isRecordRefused(error: unknown): boolean {
  return causesOf(error).some(
    ({ type, code }) => code === recordTooLarge || type === 'MESSAGE_TOO_LARGE' || type === 'RECORD_LIST_TOO_LARGE',
  );
}

const recordTooLarge = 'ERR_RECORD_TOO_LARGE';

export function recordTooLargeError(bytes: number, maxBytes: number): Error {
  const message = `a record of ${bytes} bytes is larger than the topic takes (${maxBytes}, its max.message.bytes)`;
  return Object.assign(new Error(message), { code: recordTooLarge });
}

/** What was not allowed, and what to allow. Error types: https://kafka.apache.org/protocol#protocol_error_codes */
function refusals(topic: string): readonly (readonly [type: string, detail: string, hint: string])[] {
  return [
    [
      'TOPIC_AUTHORIZATION_FAILED',
      `the user may not use topic ${topic}`,
      'Allow it on the topic: Describe and DescribeConfigs; ingest also Write, the compactor also Read.',
    ],
    [
      'GROUP_AUTHORIZATION_FAILED',
      'the user may not use its consumer group',
      'Allow the compactor to Read the groups whose names begin with daybook-compactor-, and redact those with daybook-redact-.',
    ],
    [
      'CLUSTER_AUTHORIZATION_FAILED',
      `the user may not create topic ${topic}`,
      'Allow it Create on the cluster, or create the topic yourself.',
    ],
  ];
}

interface Link {
  readonly name: string;
  readonly message: string;
  /** Of answers of a broker: the name of its error code. */
  readonly type?: string;
  /** Of sockets: ECONNREFUSED and the like. */
  readonly code?: unknown;
  readonly retriable?: boolean;
}

/** The error, what caused it, and so on. kafkajs wraps a failure once for each layer that tried again. */
function causesOf(error: unknown): Link[] {
  const links: Link[] = [];
  for (let one = error; one instanceof Error && links.length < 10; ) {
    links.push(one as Link & Error);
    const { errors, cause }: { errors?: readonly unknown[]; cause?: unknown } = one as never;
    one = errors?.[0] ?? cause;
  }
  return links;
}

function isOfTls(text: string): boolean {
  return /CERT|ERR_TLS|ERR_SSL|EPROTO|SELF_SIGNED|self-signed certificate|unable to verify|wrong version number/.test(
    text,
  );
}
