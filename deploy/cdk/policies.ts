/**
 * What each role may do on AWS, and nothing more. The stack gives these to its roles; deploy/README.md prints them
 * (test/house/docs.test.ts). Every argument is an ARN; `streamKey` is that of the KMS key that encrypts the stream, left out
 * where it is not encrypted, or with the key of AWS; `signingKey` that of the one that signs manifests, left out where it is
 * not in KMS.
 */

export interface Statement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export interface Policy {
  readonly Version: '2012-10-17';
  readonly Statement: readonly Statement[];
}

export interface StreamArns {
  readonly stream: string;
  readonly streamKey?: string;
}

export interface ArchiveArns extends StreamArns {
  readonly signingKey?: string;
  readonly bucket: string;
  /** Of all objects of the archive: the bucket's, and where a prefix is set `/<prefix>/*`. */
  readonly objects: string;
}

/** The last three are for reading back what was written. */
export function ingestPolicy({ stream, streamKey }: StreamArns): Policy {
  return policyOf(
    allow(['kinesis:DescribeStreamSummary', 'kinesis:PutRecords', ...readStream], stream),
    ...withKey(['kms:GenerateDataKey', 'kms:Decrypt'], streamKey),
  );
}

/** The nights. With COMPACTOR_PUBLISH_RECOVERED also `kinesis:PutRecords` and `kms:GenerateDataKey`. */
export function compactorPolicy({ stream, streamKey, signingKey, bucket, objects }: ArchiveArns): Policy {
  return policyOf(
    allow(['kinesis:DescribeStreamSummary', ...readStream], stream),
    ...withKey(['kms:Decrypt'], streamKey),
    ...withKey(['kms:GetPublicKey', 'kms:Sign'], signingKey),
    allow(['s3:ListBucket', 's3:GetBucketObjectLockConfiguration'], bucket),
    allow(['s3:GetObject', 's3:PutObject', 's3:AbortMultipartUpload'], objects),
    // What it archives of a held day is held in the bucket, too. To end that is for `release` alone, which goes without the condition.
    {
      ...allow(['s3:PutObjectLegalHold'], objects),
      Condition: { StringEquals: { 's3:object-lock-legal-hold': 'ON' } },
    },
  );
}

/** `prune` alone: what a night may, and to delete. It writes a manifest that says so first. */
export function prunePolicy(arns: ArchiveArns): Policy {
  const { Statement } = compactorPolicy(arns);
  return policyOf(...Statement, allow(['s3:DeleteObject'], arns.objects));
}

/** Whoever verifies or restores: reads the archive. */
export function auditorPolicy({ bucket, objects }: Pick<ArchiveArns, 'bucket' | 'objects'>): Policy {
  return policyOf(allow(['s3:ListBucket'], bucket), allow(['s3:GetObject'], objects));
}

const readStream = ['kinesis:ListShards', 'kinesis:GetShardIterator', 'kinesis:GetRecords'];

function allow(actions: readonly string[], resource: string): Statement {
  return { Effect: 'Allow', Action: actions, Resource: [resource] };
}

function withKey(actions: readonly string[], key: string | undefined): Statement[] {
  return key === undefined ? [] : [allow(actions, key)];
}

function policyOf(...Statement: Statement[]): Policy {
  return { Version: '2012-10-17', Statement };
}
