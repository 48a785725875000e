/** Login cookies as an issuer of pan-domain authentication makes them, and a source that takes them. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export interface Issuer {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** PEM. */
  readonly pem: string;
  /** As it stands in a settings file. */
  readonly base64: string;
}

export function newIssuer(modulusLength = 2048): Issuer {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { privateKey, publicKey, pem, base64: publicKey.export({ type: 'spki', format: 'der' }).toString('base64') };
}

export interface Login {
  readonly firstName: string;
  readonly lastName: string;
  readonly email: string;
  readonly system: string;
  readonly authedIn: string;
  readonly expires: string;
  readonly multifactor: string;
}

/** The payload of somebody who logged in, for another hour. Members can be replaced, and left out by undefined. */
export function payloadOf(changes: Readonly<Partial<Record<keyof Login, string | number | undefined>>> = {}): string {
  const login = {
    firstName: 'Test',
    lastName: 'User',
    email: 'test.user@example.test',
    system: 'test',
    authedIn: 'test',
    expires: Date.now() + 3_600_000,
    multifactor: 'true',
    ...changes,
  };
  return Object.entries(login)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

export function cookieOf({ privateKey }: Issuer, payload: string | Buffer = payloadOf()): string {
  const bytes = Buffer.from(payload as Buffer);
  return `${bytes.toString('base64')}.${sign('RSA-SHA256', bytes, privateKey).toString('base64')}`;
}

export const cookieName = 'loginAuth';

/** The settings of a source that takes the issuer's cookies. */
export function cookieSource(issuer: Issuer, changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    name: 'pages',
    scheme: 'cookie',
    cookie: cookieName,
    publicKeys: [issuer.pem],
    emailDomains: ['example.test'],
    origins: ['example.test'],
    ...changes,
  };
}

export const origin = 'https://app.example.test';
