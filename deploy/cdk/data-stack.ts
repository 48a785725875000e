/** What must outlive every deployment: the stream, the archive's bucket, secrets, the spool's database. Kept when the stack is deleted. */
import { Duration, Fn, RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import {
  FlowLogDestination,
  GatewayVpcEndpointAwsService,
  InstanceClass,
  InstanceSize,
  InstanceType,
  SecurityGroup,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2';
import { Stream, StreamEncryption } from 'aws-cdk-lib/aws-kinesis';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Credentials, DatabaseInstance, DatabaseInstanceEngine, PostgresEngineVersion } from 'aws-cdk-lib/aws-rds';
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectLockRetention, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';

export interface DataProps extends StackProps {
  /** 1 MB/s in and 2 MB/s out each. */
  readonly shards: number;
  /** Of the stream: how many days of nights may fail. 7 to 365. */
  readonly retentionDays: number;
  /** Each version in the bucket can be deleted by nobody without s3:BypassGovernanceRetention for so long. Not above the ages of `prune`. */
  readonly lockDays: number;
}

/** The settings that are secrets, as the services get them. */
export const secretSettings = [
  'DAYBOOK_SOURCES',
  'DAYBOOK_STREAM_KEY',
  'INGEST_SPOOL',
  'COMPACTOR_SIGNING_KEY',
  'COMPACTOR_JOB_SECRET',
] as const;
export type SecretSetting = (typeof secretSettings)[number];

/** Made here; the others are put in by hand, before the services are deployed. */
const generated: readonly SecretSetting[] = ['DAYBOOK_STREAM_KEY', 'COMPACTOR_JOB_SECRET'];

export class DataStack extends Stack {
  readonly vpc: Vpc;
  readonly key: Key;
  readonly stream: Stream;
  readonly bucket: Bucket;
  readonly secrets: Readonly<Record<SecretSetting, Secret>>;
  /** Of the spool's database: who may reach it is said where ingest is. */
  readonly spoolGroup: SecurityGroup;

  /** Two of the account's zones by their order, so that nothing has to be looked up to write the template. */
  override get availabilityZones(): string[] {
    return [0, 1].map((at) => Fn.select(at, Fn.getAzs()));
  }

  constructor(scope: Construct, id: string, { shards, retentionDays, lockDays, ...props }: DataProps) {
    super(scope, id, { terminationProtection: true, ...props });

    this.vpc = new Vpc(this, 'Vpc', {
      maxAzs: 2,
      natGateways: 1,
      subnetConfiguration: [
        { name: 'public', subnetType: SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
        { name: 'private', subnetType: SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 22 },
        { name: 'data', subnetType: SubnetType.PRIVATE_ISOLATED, cidrMask: 24 },
      ],
      gatewayEndpoints: { S3: { service: GatewayVpcEndpointAwsService.S3 } },
      flowLogs: { rejected: { destination: FlowLogDestination.toCloudWatchLogs() } },
    });

    // Events lie in the stream as they came; what is in the bucket is sealed by age before it gets there.
    this.key = new Key(this, 'Key', {
      description: 'daybook: stream, secrets and spool',
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    this.stream = new Stream(this, 'Stream', {
      shardCount: shards,
      retentionPeriod: Duration.days(retentionDays),
      encryption: StreamEncryption.KMS,
      encryptionKey: this.key,
      removalPolicy: RemovalPolicy.RETAIN,
    });

    const accessLogs = new Bucket(this, 'AccessLogs', {
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: true,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      lifecycleRules: [{ expiration: Duration.days(400) }],
      removalPolicy: RemovalPolicy.RETAIN,
    });
    this.bucket = new Bucket(this, 'Archive', {
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: true,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      versioned: true,
      objectLockEnabled: true,
      objectLockDefaultRetention: ObjectLockRetention.governance(Duration.days(lockDays)),
      lifecycleRules: [
        {
          // What prune deleted is gone a month after its lock has ended. Current objects are for prune alone.
          noncurrentVersionExpiration: Duration.days(lockDays + 30),
          expiredObjectDeleteMarker: true,
          abortIncompleteMultipartUploadAfter: Duration.days(7),
        },
      ],
      serverAccessLogsBucket: accessLogs,
      serverAccessLogsPrefix: 'archive/',
      removalPolicy: RemovalPolicy.RETAIN,
    });

    this.secrets = Object.fromEntries(
      secretSettings.map((name) => [
        name,
        new Secret(this, name, {
          secretName: `${id}/${name}`,
          encryptionKey: this.key,
          removalPolicy: RemovalPolicy.RETAIN,
          ...(generated.includes(name)
            ? { generateSecretString: { passwordLength: 64, excludePunctuation: true } }
            : { description: 'Put in by hand: see deploy/cdk/README.md.' }),
        }),
      ]),
    ) as Record<SecretSetting, Secret>;

    this.spoolGroup = new SecurityGroup(this, 'SpoolGroup', { vpc: this.vpc, allowAllOutbound: false });
    new DatabaseInstance(this, 'Spool', {
      engine: DatabaseInstanceEngine.postgres({ version: PostgresEngineVersion.VER_17_6 }),
      instanceType: InstanceType.of(InstanceClass.T4G, InstanceSize.MICRO),
      vpc: this.vpc,
      vpcSubnets: { subnetType: SubnetType.PRIVATE_ISOLATED },
      securityGroups: [this.spoolGroup],
      multiAz: true,
      databaseName: 'daybook',
      credentials: Credentials.fromGeneratedSecret('daybook', {
        secretName: `${id}/spool-database`,
        encryptionKey: this.key,
      }),
      allocatedStorage: 20,
      maxAllocatedStorage: 100,
      storageEncrypted: true,
      storageEncryptionKey: this.key,
      backupRetention: Duration.days(7),
      deletionProtection: true,
      cloudwatchLogsExports: ['postgresql'],
      removalPolicy: RemovalPolicy.SNAPSHOT,
    });
  }
}
