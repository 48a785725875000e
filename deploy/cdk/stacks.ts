/** The two stacks, from the values of cdk.json or of `-c name=value`. Every value that is missing or wrong is named at once. */
import { type App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { acknowledge } from './acknowledged.ts';
import { DataStack } from './data-stack.ts';
import { ServicesStack } from './services-stack.ts';

/** `app` with the stacks in it; `app.synth()` throws where cdk-nag finds what acknowledged.ts has no reason for. */
export function makeApp(app: App): { app: App; data: DataStack; services: ServicesStack } {
  const problems: string[] = [];
  const text = (name: string): string => {
    const value: unknown = app.node.tryGetContext(name);
    if (typeof value === 'string' && value !== '') return value;
    problems.push(`${name} is required`);
    return '';
  };
  const days = (name: string, least: number): number | undefined => {
    const value: unknown = app.node.tryGetContext(name);
    if (value === undefined) return undefined;
    const count = Number(value);
    if (Number.isInteger(count) && count >= least) return count;
    problems.push(`${name} must be a whole number, ${least} at least`);
    return undefined;
  };
  const env = { account: text('account'), region: text('region') };
  const image = text('image');
  const certificateArn = text('certificateArn');
  const recipients = text('recipients');
  const shards = days('shards', 1) ?? 1;
  const retentionDays = days('retentionDays', 7) ?? 8;
  const lockDays = days('lockDays', 1) ?? 31;
  const evidenceDays = days('evidenceDays', 31);
  const eventDays = days('eventDays', 31);
  for (const [name, age] of Object.entries({ evidenceDays, eventDays })) {
    if (age !== undefined && age < lockDays) problems.push(`${name} must not be below lockDays`);
  }
  if (problems.length > 0) throw new Error(`cdk.json or -c: ${problems.join('; ')}`);

  const data = new DataStack(app, 'DaybookData', { env, shards, retentionDays, lockDays });
  const services = new ServicesStack(app, 'DaybookServices', {
    env,
    data,
    image,
    certificateArn,
    recipients,
    ...(evidenceDays === undefined ? {} : { evidenceDays }),
    ...(eventDays === undefined ? {} : { eventDays }),
  });
  acknowledge(data, services);
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  return { app, data, services };
}
