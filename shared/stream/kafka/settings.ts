import { z } from 'zod';
import { awsRegion, besideOthers, httpsOrLoopback, tlsParams } from '../../setting-shapes.ts';

const text = z.string().min(1, 'is empty');

const password = z.strictObject({
  mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
  username: text,
  password: text,
});

/** A token of an OAuth server by the client credentials grant (RFC 6749, 4.4), or one that somebody keeps fresh in a file. */
const oauthBearer = z
  .strictObject({
    mechanism: z.literal('oauthbearer'),
    tokenEndpoint: httpsOrLoopback.optional(),
    clientId: text.optional(),
    clientSecret: text.optional(),
    scope: text.optional(),
    tokenFile: text.optional(),
    /** As some services want them beside the token (RFC 7628, 3.1). */
    extensions: z.record(z.string().regex(/^[A-Za-z]+$/, 'must be letters'), z.string().regex(/^[ -~]+$/)).optional(),
  })
  .superRefine((sasl, context) => {
    const problem = (name: string, message: string) => context.addIssue({ code: 'custom', path: [name], message });
    for (const name of ['tokenEndpoint', 'clientId', 'clientSecret'] as const) {
      const isGiven = sasl[name] !== undefined;
      if (sasl.tokenFile === undefined && !isGiven) problem(name, 'is required where there is no tokenFile');
      if (sasl.tokenFile !== undefined && isGiven) problem(name, 'has no use beside tokenFile');
    }
  });
export type OauthBearer = z.infer<typeof oauthBearer>;

/** Amazon MSK: the token is signed with the credentials that the AWS SDK finds. */
const awsMskIam = z.strictObject({ mechanism: z.literal('aws-msk-iam'), region: awsRegion.optional() });
export type AwsMskIam = z.infer<typeof awsMskIam>;

export const kafkaParams = z
  .strictObject({
    brokers: z.array(z.string().regex(/^[\w.-]+:\d{1,5}$/, 'must be host:port')).min(1, 'names no broker'),
    topic: z
      .string()
      .regex(/^(?!\.{1,2}$)[\w.-]{1,249}$/, 'must be 1 to 249 letters, digits, dots, underscores or hyphens'),
    ssl: tlsParams.optional(),
    sasl: z.discriminatedUnion('mechanism', [password, oauthBearer, awsMskIam]).optional(),
    /** Makes the topic where it is not there. */
    create: z
      .strictObject({ partitions: z.int().min(1).max(1_000), replicationFactor: z.int().min(1).max(9) })
      .optional(),
  })
  .refine(({ ssl, sasl }) => sasl?.mechanism !== 'aws-msk-iam' || (ssl !== undefined && ssl !== false), {
    path: ['ssl'],
    message: 'is required with aws-msk-iam: whoever reads a token can use it',
    when: besideOthers,
  });
export type KafkaParams = z.infer<typeof kafkaParams>;
export type KafkaSasl = NonNullable<KafkaParams['sasl']>;
