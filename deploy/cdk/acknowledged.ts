/** What cdk-nag finds and is so on purpose, each with the reason. A finding that is not here fails the synthesis. */
import { type Stack, Validations } from 'aws-cdk-lib';

export function acknowledge(data: Stack, services: Stack): void {
  for (const [stack, findings] of [
    [data, ofData],
    [services, ofServices],
  ] as const) {
    for (const [rule, reason] of Object.entries(findings)) {
      Validations.of(stack).acknowledge({ id: `AwsSolutions::AwsSolutions-${rule}`, reason });
    }
  }
}

const ofData = {
  SMG4: 'Secrets of senders and keys of the archive change by a procedure with an overlap (ingest/README.md, Rotate a secret), not by a function.',
  RDS11: 'The port of the spool is open to ingest alone; another number would not make it safer.',
  KDS3: 'A key of our own: who may read events is said by its policy, and can be taken away.',
};

const ofServices = {
  ECS2: 'What is given as environment is public; secrets come from Secrets Manager.',
  // Of that one statement: another wildcard is found again.
  'IAM5[Resource::DaybookData:ExportsOutputFnGetAttArchiveDA4CB258ArnBE8F3792/*]':
    'The compactor makes objects under names that are hashes: its rights are on the objects of one bucket.',
  EC23: 'Stripe and other senders call from the internet. The listener is https alone, and every request is signed.',
  S1: "The bucket of the balancer's access logs would only log its own logs.",
};
