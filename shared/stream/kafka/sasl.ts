/**
 * How the driver proves to the brokers who it is. A token is asked for at each connection, and again where the broker
 * ends a session: none is used past its end.
 *
 * kafkajs has OAUTHBEARER of its own, but takes a refusal for success: a broker refuses by an answer that says why
 * (RFC 7628, 3.2.2), and closes the connection at the next request. Here that answer is read.
 */
import type { KafkaConfig, Mechanism } from 'kafkajs';
import { DaybookError } from '../../errors.ts';
import { readTextFile } from '../../files/read-text.ts';
import { refusedHintOf } from './error.ts';
import { mskToken } from './msk-token.ts';
import { openTokenEndpoint, type Tokens } from './oauth-token.ts';
import type { KafkaSasl } from './settings.ts';

type Sasl = NonNullable<KafkaConfig['sasl']>;

export function saslOf(sasl: KafkaSasl): Sasl {
  switch (sasl.mechanism) {
    case 'oauthbearer': {
      const { tokenFile, extensions = {} } = sasl;
      const tokens = tokenFile === undefined ? openTokenEndpoint(sasl) : fileOf(tokenFile);
      return bearerOf(tokens, refusedHintOf(sasl), extensions);
    }
    case 'aws-msk-iam':
      return bearerOf({ token: () => mskToken(sasl), refused: () => undefined }, refusedHintOf(sasl));
    default:
      // Two shapes in kafkajs's types, one here.
      return sasl as Sasl;
  }
}

function fileOf(path: string): Tokens {
  return {
    // Read each time: whoever keeps it fresh, Kubernetes for example, writes a new one before the old one ends.
    async token() {
      try {
        return readTextFile(path).trim();
      } catch (cause) {
        throw new DaybookError('stream_credentials_refused', {
          detail: `the token file ${path} cannot be read (${(cause as NodeJS.ErrnoException).code})`,
          hint: 'See sasl.tokenFile of DAYBOOK_STREAM, and the permissions of the file.',
          cause,
        });
      }
    },
    refused: () => undefined,
  };
}

function bearerOf(
  { token, refused }: Tokens,
  hint: string,
  extensions: Readonly<Record<string, string>> = {},
): Mechanism {
  const further = Object.entries(extensions).map(([name, value]) => `${name}=${value}\u0001`);
  return {
    mechanism: 'oauthbearer',
    authenticationProvider: ({ saslAuthenticate }) => ({
      async authenticate() {
        const value = await token().catch(withoutRepeat);
        const message = Buffer.from(`n,,\u0001auth=Bearer ${value}\u0001${further.join('')}\u0001`);
        const answer = await saslAuthenticate<Buffer>({
          request: { encode: () => sized(message) },
          response: { decode: (raw) => raw.subarray(4), parse: (said) => said },
        });
        if (answer === undefined || answer.length === 0) return;
        refused();
        withoutRepeat(
          new DaybookError('stream_credentials_refused', {
            detail: `the brokers refuse the token: ${answer.toString().slice(0, 300)}.${claimsOf(value)}`,
            hint,
          }),
        );
      },
    }),
  };
}

/** The error as kafkajs hands it on without trying again, where a repeat does not help. */
function withoutRepeat(error: unknown): never {
  throw error instanceof DaybookError && !error.retry ? Object.assign(error, { retriable: false }) : error;
}

function sized(bytes: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(bytes.length);
  return Buffer.concat([size, bytes]);
}

/** What a JWT says of itself, without its signature: enough to see what is wrong with it, of no use to others. '' of others. */
function claimsOf(token: string): string {
  try {
    const payload = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<
      string,
      unknown
    >;
    const told = ['iss', 'aud', 'sub', 'scope', 'scp', 'exp'].filter((name) => payload[name] !== undefined);
    const end = (value: unknown) => (typeof value === 'number' ? new Date(value * 1000).toISOString() : value);
    return ` It says ${told.map((name) => `${name} ${JSON.stringify(name === 'exp' ? end(payload[name]) : payload[name])}`).join(', ')}.`;
  } catch {
    return '';
  }
}
