/** What runs: ingest behind a load balancer, the compactor, prune when it is asked for; their roles and alarms. */
import { Duration, Stack, type StackProps } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import {
  Alarm,
  ComparisonOperator,
  type IMetric,
  type MetricOptions,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { type ISecurityGroup, Peer, Port, SecurityGroup, SubnetType } from 'aws-cdk-lib/aws-ec2';
import {
  Cluster,
  ContainerImage,
  ContainerInsights,
  CpuArchitecture,
  Secret as EcsSecret,
  FargateService,
  FargateTaskDefinition,
  LogDrivers,
} from 'aws-cdk-lib/aws-ecs';
import {
  ApplicationLoadBalancer,
  ApplicationProtocol,
  HttpCodeTarget,
  SslPolicy,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { CfnPolicy, ManagedPolicy, PolicyDocument } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { FilterPattern, LogGroup, MetricFilter, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { BlockPublicAccess, Bucket, BucketEncryption } from 'aws-cdk-lib/aws-s3';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Topic } from 'aws-cdk-lib/aws-sns';
import type { Construct } from 'constructs';
import type { DataStack, SecretSetting } from './data-stack.ts';
import { auditorPolicy, compactorPolicy, ingestPolicy, type Policy, prunePolicy } from './policies.ts';

export interface ServicesProps extends StackProps {
  readonly data: DataStack;
  /** By digest, or a tag that never moves. */
  readonly image: string;
  /** Of the name that Stripe sends to, in Certificate Manager of this region. */
  readonly certificateArn: string;
  /** age recipients, a line each. Public. */
  readonly recipients: string;
  /** Evidence and events go after so many days, 31 at least; what is absent is kept. Used by the task `prune` alone. */
  readonly evidenceDays?: number;
  readonly eventDays?: number;
}

interface Program {
  readonly name: 'ingest' | 'compactor' | 'prune';
  readonly command: readonly string[];
  readonly policy: Policy;
  readonly cpu: number;
  readonly memoryMiB: number;
  readonly environment: Readonly<Record<string, string>>;
  readonly secrets: readonly SecretSetting[];
  readonly port?: number;
}

/** Where the image may write; a volume that ends with its task. Nothing that must last is there: the spool is in PostgreSQL. */
const dataFolder = '/data';

interface AlarmRow {
  readonly means: string;
  readonly metric: IMetric;
  /** Rings where there was none for so many periods; else where there is one. */
  readonly tooFewFor?: number;
}

const everyFiveMinutes = { period: Duration.minutes(5), statistic: 'Sum' };

export class ServicesStack extends Stack {
  constructor(scope: Construct, id: string, props: ServicesProps) {
    super(scope, id, props);
    const { data, recipients, evidenceDays, eventDays } = props;
    const arns = {
      stream: data.stream.streamArn,
      streamKey: data.key.keyArn,
      bucket: data.bucket.bucketArn,
      objects: data.bucket.arnForObjects('*'),
    };
    const topic = new Topic(this, 'Alarms', { displayName: 'daybook', enforceSSL: true });
    const cluster = new Cluster(this, 'Cluster', { vpc: data.vpc, containerInsightsV2: ContainerInsights.ENABLED });
    const archive = {
      DAYBOOK_STORE: JSON.stringify({
        type: 's3',
        params: { bucket: data.bucket.bucketName, region: data.bucket.stack.region },
      }),
      COMPACTOR_RECIPIENTS: recipients,
    };

    const ingest = this.taskOf(props, {
      name: 'ingest',
      command: ['ingest/main.ts', 'serve'],
      policy: ingestPolicy(arns),
      cpu: 512,
      memoryMiB: 1024,
      environment: { INGEST_HOST: '0.0.0.0', INGEST_TRUSTED_PROXIES: data.vpc.vpcCidrBlock },
      secrets: ['DAYBOOK_SOURCES', 'DAYBOOK_STREAM_KEY', 'INGEST_SPOOL'],
      port: 8080,
    });
    const compactor = this.taskOf(props, {
      name: 'compactor',
      command: ['compactor/main.ts', 'serve'],
      policy: compactorPolicy(arns),
      cpu: 1024,
      memoryMiB: 2048,
      environment: archive,
      secrets: ['DAYBOOK_SOURCES', 'DAYBOOK_STREAM_KEY', 'COMPACTOR_SIGNING_KEY', 'COMPACTOR_JOB_SECRET'],
    });
    const ages = {
      ...(evidenceDays === undefined ? {} : { COMPACTOR_EVIDENCE_DAYS: String(evidenceDays) }),
      ...(eventDays === undefined ? {} : { COMPACTOR_EVENT_DAYS: String(eventDays) }),
    };
    // Run by hand or by a schedule of yours; a dry run unless its command is given --apply.
    this.taskOf(props, {
      name: 'prune',
      command: ['compactor/main.ts', 'prune'],
      policy: prunePolicy(arns),
      cpu: 512,
      memoryMiB: 1024,
      environment: { ...archive, ...ages },
      secrets: ['DAYBOOK_SOURCES', 'COMPACTOR_SIGNING_KEY'],
    });
    new ManagedPolicy(this, 'Auditor', {
      description: 'daybook: reads the archive',
      document: PolicyDocument.fromJson(auditorPolicy(arns)),
    });

    const service = {
      cluster,
      vpcSubnets: { subnetType: SubnetType.PRIVATE_WITH_EGRESS },
      circuitBreaker: { rollback: true },
    };
    const ingests = new FargateService(this, 'Ingest', {
      ...service,
      taskDefinition: ingest.task,
      desiredCount: 2,
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      healthCheckGracePeriod: Duration.seconds(30),
    });
    const spoolGroup = SecurityGroup.fromSecurityGroupId(this, 'SpoolGroup', data.spoolGroup.securityGroupId);
    const [{ securityGroupId }] = ingests.connections.securityGroups as [ISecurityGroup];
    spoolGroup.addIngressRule(Peer.securityGroupId(securityGroupId), Port.tcp(5432), 'the spool of all ingests');
    ingests
      .autoScaleTaskCount({ minCapacity: 2, maxCapacity: 10 })
      .scaleOnCpuUtilization('Cpu', { targetUtilizationPercent: 60 });
    new FargateService(this, 'Compactor', {
      ...service,
      taskDefinition: compactor.task,
      desiredCount: 1,
      // Two do no harm, but double work.
      minHealthyPercent: 0,
      maxHealthyPercent: 100,
    });

    const balancer = new ApplicationLoadBalancer(this, 'Balancer', {
      vpc: data.vpc,
      internetFacing: true,
      vpcSubnets: { subnetType: SubnetType.PUBLIC },
      // Below the 65 s that ingest keeps an idle connection open.
      idleTimeout: Duration.seconds(60),
      deletionProtection: true,
    });
    const balancerLogs = new Bucket(this, 'BalancerLogs', {
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: true,
      lifecycleRules: [{ expiration: Duration.days(90) }],
    });
    balancer.logAccessLogs(balancerLogs);
    const targets = balancer
      .addListener('Https', {
        port: 443,
        sslPolicy: SslPolicy.TLS13_RES,
        certificates: [Certificate.fromCertificateArn(this, 'Certificate', props.certificateArn)],
      })
      .addTargets('Ingest', {
        protocol: ApplicationProtocol.HTTP,
        port: 8080,
        targets: [ingests],
        deregistrationDelay: Duration.seconds(10),
        healthCheck: {
          path: '/readyz',
          interval: Duration.seconds(5),
          timeout: Duration.seconds(4),
          unhealthyThresholdCount: 2,
          healthyThresholdCount: 2,
        },
      });

    const alarms: Readonly<Record<string, AlarmRow>> = {
      IngestUnhealthy: {
        means: 'No ingest takes events: runbook, DaybookIngestDown.',
        metric: targets.metrics.healthyHostCount({ period: Duration.minutes(1), statistic: 'Maximum' }),
        tooFewFor: 3,
      },
      EventsRefused: {
        means: 'Events are refused with 5xx: runbook, DaybookEventsRefused.',
        metric: targets.metrics.httpCodeTarget(HttpCodeTarget.TARGET_5XX_COUNT, everyFiveMinutes),
      },
      StreamAway: {
        means: 'Events go to the spool: runbook, DaybookStreamAway.',
        metric: countOf(ingest.logs, 'StreamAway', '{ $.msg = "the stream is away" }', everyFiveMinutes),
      },
      StreamThrottled: {
        means: 'The stream has too few shards; what it refuses goes to the spool and comes out again.',
        metric: data.stream.metricWriteProvisionedThroughputExceeded(everyFiveMinutes),
      },
      DeadLetters: {
        means: 'Records were put aside: runbook, DaybookDeadLetters.',
        metric: countOf(ingest.logs, 'DeadLetters', '{ $.msg = "record put aside" }', everyFiveMinutes),
      },
      NightMissing: {
        means: 'No night ended well for 27 hours: runbook, DaybookNightMissing.',
        metric: countOf(
          compactor.logs,
          'NightDone',
          '{ ($.msg = "job ended") && ($.job = "run") && (($.exitCode = 0) || (($.exitCode = 3) && ($.report.head.number > 0))) }',
          { period: Duration.hours(1), statistic: 'Sum' },
        ),
        tooFewFor: 27,
      },
      // An incomplete day ends a night with 3 too, but that night has written a manifest, and tells the head.
      ArchiveFault: {
        means: 'A night or verify found a fault in the archive: runbook, DaybookArchiveFault.',
        metric: countOf(
          compactor.logs,
          'ArchiveFault',
          '{ ($.msg = "job ended") && ($.exitCode = 3) && (($.job = "verify") || ($.report.head IS NULL)) }',
          everyFiveMinutes,
        ),
      },
    };
    for (const [name, row] of Object.entries(alarms)) {
      this.alarmOf(name, row).addAlarmAction(new SnsAction(topic));
    }
  }

  private alarmOf(name: string, { means, metric, tooFewFor }: AlarmRow): Alarm {
    return new Alarm(this, `${name}Alarm`, {
      alarmDescription: means,
      metric,
      threshold: 1,
      ...(tooFewFor === undefined
        ? {
            comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluationPeriods: 1,
            treatMissingData: TreatMissingData.NOT_BREACHING,
          }
        : {
            comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
            evaluationPeriods: tooFewFor,
            treatMissingData: TreatMissingData.BREACHING,
          }),
    });
  }

  /** A task definition with a role of its own that may do what `policy` says, its secrets and its log. */
  private taskOf({ data, image }: ServicesProps, program: Program): { task: FargateTaskDefinition; logs: LogGroup } {
    const { name, command, policy, cpu, memoryMiB, environment, secrets, port } = program;
    const task = new FargateTaskDefinition(this, `${name}Task`, {
      cpu,
      memoryLimitMiB: memoryMiB,
      ephemeralStorageGiB: 50,
      runtimePlatform: { cpuArchitecture: CpuArchitecture.ARM64 },
    });
    new CfnPolicy(this, `${name}Policy`, { policyName: name, policyDocument: policy, roles: [task.taskRole.roleName] });
    task.addVolume({ name: 'data' });
    const logs = new LogGroup(this, `${name}Logs`, { retention: RetentionDays.THREE_MONTHS });
    // By their names alone: what a role may is said by the role, not by the policy of a key in the other stack.
    const encryptionKey = Key.fromKeyArn(this, `${name}Key`, data.key.keyArn);
    const known = (setting: SecretSetting) =>
      Secret.fromSecretAttributes(this, `${name}${setting}`, {
        secretCompleteArn: data.secrets[setting].secretArn,
        encryptionKey,
      });
    const container = task.addContainer(name, {
      image: ContainerImage.fromRegistry(image),
      command: [...command],
      environment: {
        DAYBOOK_DATA_DIR: dataFolder,
        DAYBOOK_STREAM: JSON.stringify({
          type: 'kinesis',
          params: { streamName: data.stream.streamName, region: data.stream.stack.region },
        }),
        ...environment,
      },
      secrets: Object.fromEntries(secrets.map((setting) => [setting, EcsSecret.fromSecretsManager(known(setting))])),
      logging: LogDrivers.awsLogs({ logGroup: logs, streamPrefix: name }),
      readonlyRootFilesystem: true,
      // What SIGTERM leaves unsaid after 9 s is not waited for.
      stopTimeout: Duration.seconds(15),
      ...(port === undefined ? {} : { portMappings: [{ containerPort: port }] }),
    });
    container.addMountPoints({ sourceVolume: 'data', containerPath: dataFolder, readOnly: false });
    return { task, logs };
  }
}

/** How many lines of a log match, per period. */
function countOf(logs: LogGroup, name: string, pattern: string, options: MetricOptions): IMetric {
  const filter = new MetricFilter(logs, name, {
    logGroup: logs,
    metricNamespace: 'daybook',
    metricName: name,
    filterPattern: FilterPattern.literal(pattern),
    metricValue: '1',
  });
  return filter.metric(options);
}
