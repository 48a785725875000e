import { createHash } from 'node:crypto';
import { S3Client } from '@aws-sdk/client-s3';
import { openAgents } from '../../http/agents.ts';
import type { S3Params } from './settings.ts';

/** A parameter for the sake of tests alone. */
export interface S3Timeouts {
  readonly connectMs: number;
  /** Of a connection on which nothing moves. */
  readonly idleMs: number;
}

const defaultTimeouts: S3Timeouts = { connectMs: 5_000, idleMs: 60_000 };
const maxAttempts = 4;

export function openS3Client(params: S3Params, timeouts: S3Timeouts = defaultTimeouts): S3Client {
  const { region, endpoint, forcePathStyle, profile, checksum } = params;
  const client = new S3Client({
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(forcePathStyle !== undefined && { forcePathStyle }),
    ...(profile !== undefined && { profile }),
    ...(checksum === 'md5' && {
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    }),
    // Throttling, 5xx, resets and time-outs are retried here and nowhere else; s3-create.ts tells why a create may be.
    maxAttempts,
    requestHandler: { connectionTimeout: timeouts.connectMs, socketTimeout: timeouts.idleMs, ...openAgents(endpoint) },
  });
  if (checksum === 'md5') addContentMd5(client);
  return client;
}

/** Uploads come here as buffers of one part each, so their sum is known before they are sent. */
function addContentMd5(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (request) => {
      const { Body } = request.input as { Body?: unknown };
      if (!(Body instanceof Uint8Array)) return next(request);
      const ContentMD5 = createHash('md5').update(Body).digest('base64');
      return next({ ...request, input: { ...request.input, ContentMD5 } });
    },
    { step: 'initialize', name: 'addContentMd5' },
  );
}
