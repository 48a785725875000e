/** The program beside a real broker: what it says of a topic that drops events, and of one that is not there. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startService } from '../../services/service.ts';
import { createTopic, newTopicName, withTestAdmin } from '../../shared/stream/kafka/kafka-under-test.ts';
import { complaints, openPatient, type Patient } from './doctor-under-test.ts';

const kafka = await startService<{ readonly broker: string }>('kafka.sh');

if (kafka !== undefined) {
  const brokers = [kafka.facts.broker];
  let patient: Patient;
  before(async () => {
    patient = await openPatient();
  });
  after(async () => {
    await patient.close();
    await kafka.stop();
  });

  const look = async (topic: string, more: object = {}) => {
    const params = { brokers, topic, ...more };
    const { findings } = await patient.doctor({
      DAYBOOK_STREAM: JSON.stringify({ type: 'kafka', params }),
      DAYBOOK_STREAM_KEY: 'k'.repeat(32),
    });
    return complaints(findings.filter(({ check }) => check === 'stream'));
  };
  const newTopic = async (config: Record<string, string>) => {
    const topic = newTopicName();
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
    await createTopic(brokers, { topic, numPartitions: 2, configEntries });
    return topic;
  };

  test('a topic that keeps its records too short is a warning; that it is new to the ledger, too', async () => {
    const topic = await newTopic({ 'retention.ms': '86400000' });
    const found = await look(topic);
    assert.equal(found.length, 3);
    assert.match(found[0]!, /^warning stream: weak acknowledgements: every event is on one broker alone/);
    assert.match(found[1]!, /^warning stream: records may age out before they are read: .* \(retentionMs 86400000\)$/);
    assert.match(found[2]!, /^warning stream: this is another stream than the one that the ledger stands in/);
  });

  test('a compacted topic is a problem', async () => {
    const topic = await newTopic({ 'cleanup.policy': 'compact' });
    assert.match((await look(topic)).join('\n'), /^problem stream: topic .* is compacted/);
  });

  test('a topic that daybook is to make is a warning, and is not made; one that it is not to make is a problem', async () => {
    const topic = newTopicName();
    const create = { partitions: 1, replicationFactor: 1 };
    assert.match(
      (await look(topic, { create })).join('\n'),
      /^warning stream: topic .* is not there; daybook makes it as it starts$/,
    );
    const topics = await withTestAdmin(brokers, (admin) => admin.listTopics());
    assert.equal(topics.includes(topic), false);
    assert.match((await look(topic)).join('\n'), /^problem stream: /);
  });

  test('a broker that does not answer is one problem, and the others are looked at', async () => {
    const params = { brokers: ['127.0.0.1:1'], topic: 'x' };
    const { code, findings } = await patient.doctor({ DAYBOOK_STREAM: JSON.stringify({ type: 'kafka', params }) });
    assert.deepEqual(
      findings.filter(({ status }) => status === 'problem').map(({ check, code: of }) => [check, of]),
      [['stream', 'stream_unavailable']],
    );
    assert.equal(code, 2);
    assert.ok(findings.some(({ check }) => check === 'stripe platform'));
  });
}
