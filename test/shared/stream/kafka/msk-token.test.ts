/** Equal to tokens of aws-msk-iam-sasl-signer-js 1.0.3, made once with these credentials at this time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signedToken } from '../../../../shared/stream/kafka/msk-token.ts';

const now = new Date('2026-11-20T12:34:56.789Z');
const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const queryOf = (token: string) => new URL(Buffer.from(token, 'base64url').toString()).searchParams;

test('a token is signed as AWS signs it', () => {
  const token = signedToken('eu-west-1', credentials, now);
  assert.match(
    Buffer.from(token, 'base64url').toString(),
    /^https:\/\/kafka\.eu-west-1\.amazonaws\.com\/\?Action=kafka-cluster%3AConnect&/,
  );
  assert.equal(queryOf(token).get('X-Amz-Expires'), '900');
  assert.equal(
    queryOf(token).get('X-Amz-Signature'),
    '69d1aae81d8645d1f447c11318fd1b485fbec86faf12d70469a280db84dd6790',
  );
});

test('with a session token that is full of special characters, and no longer than the credentials live', () => {
  const session = { sessionToken: 'IQoJb3JpZ2luX2VjE+/==~x!*()', expiration: new Date(now.getTime() + 600_000) };
  const token = signedToken('eu-west-1', { ...credentials, accessKeyId: 'ASIAEXAMPLE', ...session }, now);
  assert.equal(queryOf(token).get('X-Amz-Expires'), '600');
  assert.equal(queryOf(token).get('X-Amz-Security-Token'), session.sessionToken);
  assert.equal(
    queryOf(token).get('X-Amz-Signature'),
    '694c9980c1f1f63b18ffcbd897d8313359b427a6dc27bf30570e04ffdb8c526d',
  );
});
