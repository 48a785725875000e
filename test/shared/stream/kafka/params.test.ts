import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings } from '../../../../shared/config.ts';

const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

const read = (params: unknown) =>
  readSettings({ DAYBOOK_STREAM: JSON.stringify({ type: 'kafka', params }) }, ['DAYBOOK_STREAM']).DAYBOOK_STREAM;

test('a Kafka stream takes brokers and topic, and TLS, credentials and creation where they are given', () => {
  const least = { brokers: ['one:9092', '10.0.0.2:9092'], topic: 'stripe.events' };
  assert.deepEqual(read(least), { type: 'kafka', params: least });
  const most = {
    ...least,
    ssl: { ca: pem, cert: pem, key: pem },
    sasl: { mechanism: 'scram-sha-512', username: 'app', password: 'p4ssword' },
    create: { partitions: 12, replicationFactor: 3 },
  };
  assert.deepEqual(read(most), { type: 'kafka', params: most });
});

test('what a Kafka stream cannot be is named by its place, and no password with it', () => {
  const good = { brokers: ['one:9092'], topic: 'events' };
  const sasl = { mechanism: 'plain', username: 'app', password: 'p4ssword' };
  const oauth = {
    mechanism: 'oauthbearer',
    tokenEndpoint: 'https://login.example.com/token',
    clientId: 'daybook',
    clientSecret: 'p4ssword',
  };
  for (const token of [
    oauth,
    { mechanism: 'oauthbearer', tokenFile: '/run/token', extensions: { logicalCluster: 'lkc-1' } },
  ]) {
    assert.deepEqual(read({ ...good, sasl: token }), { type: 'kafka', params: { ...good, sasl: token } });
  }
  read({ ...good, ssl: true, sasl: { mechanism: 'aws-msk-iam', region: 'eu-west-1' } });
  const wrong: [object, RegExp][] = [
    [{ topic: 'events' }, /params\.brokers/],
    [{ ...good, brokers: [] }, /params\.brokers: names no broker/],
    [{ ...good, brokers: ['kafka://one:9092'] }, /params\.brokers\[0\]: must be host:port/],
    [{ ...good, topic: '..' }, /params\.topic/],
    [{ ...good, topic: 'a b' }, /params\.topic/],
    [{ ...good, ssl: { ca: '/nowhere/ca.pem' } }, /params\.ssl/],
    [{ ...good, ssl: { cert: pem } }, /params\.ssl/],
    [{ ...good, ssl: { rejectUnauthorized: false } }, /params\.ssl/],
    [{ ...good, sasl: { ...sasl, mechanism: 'gssapi' } }, /params\.sasl\.mechanism: must be plain, .* or aws-msk-iam/],
    [
      { ...good, sasl: { mechanism: 'oauthbearer', clientSecret: 'p4ssword' } },
      /params\.sasl\.tokenEndpoint: is required/,
    ],
    [{ ...good, sasl: { ...oauth, tokenFile: 'token' } }, /params\.sasl\.clientSecret: has no use beside tokenFile/],
    [{ ...good, sasl: { ...oauth, tokenEndpoint: 'http://login.example.com/token' } }, /tokenEndpoint: must be https/],
    [{ ...good, sasl: { mechanism: 'aws-msk-iam' } }, /params\.ssl: is required with aws-msk-iam/],
    [{ ...good, sasl: { ...sasl, password: '' } }, /params\.sasl\.password: is empty/],
    [{ ...good, create: { partitions: 0, replicationFactor: 1 } }, /params\.create\.partitions/],
    [{ ...good, acks: 1 }, /acks/],
  ];
  for (const [params, problem] of wrong) {
    assert.throws(
      () => read(params),
      (error: Error) => {
        assert.match(error.message, problem);
        assert.doesNotMatch(error.message, /p4ssword/);
        return true;
      },
    );
  }
});
