/** The stacks as CloudFormation gets them. Run by test/deploy/cdk/cdk.test.ts; the templates are written to CDK_OUTDIR. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { App } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { readSettings, type SettingName } from '../../shared/config.ts';
import { secretSettings } from './data-stack.ts';
import { auditorPolicy, compactorPolicy, ingestPolicy, prunePolicy } from './policies.ts';
import { makeApp } from './stacks.ts';

const given = JSON.parse(readFileSync(new URL('cdk.json', import.meta.url), 'utf8')).context;
const sound = {
  account: '111111111111',
  image: 'registry.example.com/daybook@sha256:0123',
  certificateArn: 'arn:aws:acm:eu-west-1:111111111111:certificate/0',
  recipients: 'age1example',
};
const appWith = (context: object) =>
  makeApp(new App({ analyticsReporting: false, context: { ...given, ...sound, ...context } }));

// cdk-nag looks at both as they are synthesised: what it finds and nobody has a reason for is thrown here.
const { app, data: dataStack, services: servicesStack } = appWith({ evidenceDays: 400 });
app.synth();
const data = Template.fromStack(dataStack);
const services = Template.fromStack(servicesStack);

test('what holds events is kept, private, encrypted and versioned', () => {
  data.hasResource('AWS::Kinesis::Stream', {
    DeletionPolicy: 'Retain',
    Properties: { ShardCount: 1, RetentionPeriodHours: 192, StreamEncryption: { EncryptionType: 'KMS' } },
  });
  data.hasResource('AWS::S3::Bucket', {
    DeletionPolicy: 'Retain',
    Properties: {
      ObjectLockEnabled: true,
      ObjectLockConfiguration: { Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 31 } } },
      VersioningConfiguration: { Status: 'Enabled' },
      LifecycleConfiguration: {
        Rules: [
          {
            Status: 'Enabled',
            AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
            ExpiredObjectDeleteMarker: true,
            NoncurrentVersionExpiration: { NoncurrentDays: 61 },
            // No Expiration: a current object that goes by a rule is a fault to verify.
          },
        ],
      },
    },
  });
  const everything = {
    BlockPublicAcls: true,
    BlockPublicPolicy: true,
    IgnorePublicAcls: true,
    RestrictPublicBuckets: true,
  };
  for (const template of [data, services]) {
    const buckets = Object.values(template.findResources('AWS::S3::Bucket'));
    assert.ok(buckets.length > 0);
    for (const { Properties } of buckets) assert.deepEqual(Properties.PublicAccessBlockConfiguration, everything);
  }
  data.hasResource('AWS::RDS::DBInstance', {
    DeletionPolicy: 'Snapshot',
    Properties: { StorageEncrypted: true, DeletionProtection: true, PubliclyAccessible: false, MultiAZ: true },
  });
  data.resourceCountIs('AWS::SecretsManager::Secret', secretSettings.length + 1);
  const kept = data.findResources('AWS::SecretsManager::Secret', { DeletionPolicy: 'Retain' });
  assert.equal(Object.keys(kept).length, secretSettings.length);
});

/** CloudFormation's references in a policy as the names of what they refer to. */
function plain(value: unknown): unknown {
  const text = JSON.stringify(value)
    .replaceAll(/\{"Fn::Join":\["",\[(\{"Fn::ImportValue":"[^"]+"\}),"\/\*"\]\]\}/g, '"objects"')
    .replaceAll(/\{"Fn::ImportValue":"DaybookData:ExportsOutputFnGetAtt(Stream|Key|Archive)[^"]*"\}/g, '"$1"');
  return JSON.parse(text);
}

test('a role may do what deploy/README.md prints, and nothing else', () => {
  const arns = { stream: 'Stream', streamKey: 'Key', bucket: 'Archive', objects: 'objects' };
  const policies = Object.values(services.findResources('AWS::IAM::Policy'));
  for (const [name, policy] of Object.entries({
    ingest: ingestPolicy(arns),
    compactor: compactorPolicy(arns),
    prune: prunePolicy(arns),
  })) {
    const [role] = Object.keys(services.findResources('AWS::IAM::Role')).filter((id) =>
      id.startsWith(`${name}TaskTaskRole`),
    );
    const ofRole = policies.filter(({ Properties }) => JSON.stringify(Properties.Roles).includes(role!));
    assert.equal(ofRole.length, 1, name);
    assert.deepEqual(plain(ofRole[0]!.Properties.PolicyDocument), policy, name);
  }
  const [auditor] = Object.values(services.findResources('AWS::IAM::ManagedPolicy'));
  const { Version, Statement } = plain(auditor!.Properties.PolicyDocument) as ReturnType<typeof auditorPolicy>;
  const lists = (statements: typeof Statement) =>
    statements.map(({ Action, Resource, ...rest }) => ({
      ...rest,
      Action: [Action].flat(),
      Resource: [Resource].flat(),
    }));
  assert.deepEqual({ Version, Statement: lists(Statement) }, auditorPolicy(arns));
});

interface Container {
  readonly Name: string;
  readonly Environment: readonly { readonly Name: string; readonly Value: unknown }[];
  readonly Secrets: readonly { readonly Name: string }[];
}

test('a program gets settings that it takes, and no secret among what is not one', () => {
  const examples: Record<string, string> = {
    DAYBOOK_SOURCES:
      '[{"name":"billing","scheme":"standard","secrets":["whsec_dGhpcyBpcyBhIHNlY3JldCBmb3IgdGVzdHM="]}]',
    DAYBOOK_STREAM_KEY: 'k'.repeat(64),
    INGEST_SPOOL:
      '{"type":"sql","params":{"host":"db","database":"daybook","user":"daybook","password":"p","ssl":true}}',
    COMPACTOR_SIGNING_KEY: '-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----',
    COMPACTOR_JOB_SECRET: 's'.repeat(64),
  };
  const tasks = Object.values(services.findResources('AWS::ECS::TaskDefinition'));
  assert.equal(tasks.length, 3);
  for (const { Properties } of tasks) {
    const [{ Name, Environment, Secrets }] = Properties.ContainerDefinitions as [Container];
    const text = (value: unknown) =>
      typeof value === 'string'
        ? value
        : ((value as { 'Fn::Join': [string, unknown[]] })['Fn::Join']?.[1] ?? ['x'])
            .map((part) => (typeof part === 'string' ? part : 'some-name'))
            .join('');
    const environment = Object.fromEntries([
      ...Environment.map(({ Name, Value }) => [Name, Name === 'INGEST_TRUSTED_PROXIES' ? '10.0.0.0/16' : text(Value)]),
      ...Secrets.map(({ Name }) => [Name, examples[Name]!]),
    ]) as Record<SettingName, string>;
    readSettings(environment, Object.keys(environment) as SettingName[]);
    const isSecret = (name: string) => (secretSettings as readonly string[]).includes(name);
    assert.ok(Secrets.every(({ Name }) => isSecret(Name)));
    assert.ok(!Environment.some(({ Name }) => isSecret(Name)), Name);
  }
});

test('the balancer is as deploy/README.md asks, and a task has time to end', () => {
  services.hasResourceProperties('AWS::ElasticLoadBalancingV2::LoadBalancer', {
    LoadBalancerAttributes: Match.arrayWith([{ Key: 'idle_timeout.timeout_seconds', Value: '60' }]),
  });
  services.hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', { Port: 443, Protocol: 'HTTPS' });
  services.hasResourceProperties('AWS::ElasticLoadBalancingV2::TargetGroup', {
    HealthCheckPath: '/readyz',
    HealthCheckIntervalSeconds: 5,
    UnhealthyThresholdCount: 2,
  });
  services.allResourcesProperties('AWS::ECS::TaskDefinition', {
    ContainerDefinitions: [{ StopTimeout: 15, ReadonlyRootFilesystem: true }],
  });
});

test('each alarm tells somebody, and names its section of the runbook', () => {
  const runbook = readFileSync(new URL('../RUNBOOK.md', import.meta.url), 'utf8');
  const alarms = Object.values(services.findResources('AWS::CloudWatch::Alarm')).filter(
    ({ Properties }) => Properties.AlarmDescription !== undefined && Properties.AlarmActions?.[0]?.Ref !== undefined,
  );
  const own = alarms.filter(({ Properties }) => JSON.stringify(Properties.AlarmActions).includes('Alarms'));
  assert.equal(own.length, 7);
  for (const { Properties } of own) {
    const [, section] = /runbook, (\w+)/.exec(Properties.AlarmDescription) ?? [];
    if (section !== undefined) assert.ok(runbook.includes(`<a id="${section}">`), section);
  }
});

test('all that is missing or wrong is named at once', () => {
  const wrong = { image: '', retentionDays: 1, lockDays: 400, eventDays: 31, shards: 'two' };
  assert.throws(
    () => appWith(wrong),
    /image is required; shards must be .*; retentionDays must be .*7 at least; eventDays must not be below lockDays/,
  );
});
