/** Several ingests that share nothing but the sources file and the stream: a rotation under load, and a broken file. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { KeyList } from '../../ingest/keys/list.ts';
import { readEnvelope } from '../../shared/envelope.ts';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import { openKafkaReader } from '../../shared/stream/kafka/reader.ts';
import { readAll, valuesOf } from '../contract/event-stream.ts';
import { type IngestProcess, readRecords, startIngestProcess } from '../ingest/ingest-process.ts';
import { cloudEvent, pandaHeaders, post } from '../ingest/ingest-under-test.ts';
import { runKeys } from '../ingest/keys/keys-process.ts';
import { startService } from '../services/service.ts';
import { logLines, newTopicName } from '../shared/stream/kafka/kafka-under-test.ts';

const directory = fs.mkdtempSync(join(tmpdir(), 'daybook-rotation-'));
const kafka = await startService<{ readonly broker: string }>('kafka.sh');
after(async () => {
  await kafka?.stop();
  fs.rmSync(directory, { recursive: true });
});

const old = 'the secret before the rotation';
const sourcesOf = (...secrets: unknown[]) => JSON.stringify([{ name: 'billing', scheme: 'panda', secrets }]);

/** Sends from several senders to all ingests in turn, with the secret that holds at the time, until it is stopped. */
function load(ingests: readonly IngestProcess[], first: string) {
  const sent = { secret: first, ids: new Set<string>(), refused: [] as unknown[] };
  let isOver = false;
  let count = 0;
  const sender = async () => {
    while (!isOver) {
      const number = count++;
      const { url } = ingests[number % ingests.length]!;
      const id = `event-${number}`;
      const body = JSON.stringify(cloudEvent({ id }));
      const { status, json } = await post(`${url}/events`, pandaHeaders('/events', sent.secret), body);
      if (status === 201) sent.ids.add(id);
      else sent.refused.push([status, json.code, url]);
      // Two processors, and others work here too.
      await turn();
    }
  };
  const senders = Promise.all(Array.from({ length: 4 }, sender));
  return {
    sent,
    /** Resolves when so many more were answered. */
    async more(events: number) {
      const wanted = sent.ids.size + events;
      while (sent.ids.size < wanted && sent.refused.length === 0)
        await new Promise((resolve) => setTimeout(resolve, 20));
      assert.deepEqual(sent.refused, []);
    },
    async stop() {
      isOver = true;
      await senders;
      return sent;
    },
  };
}

async function rotatesUnderLoad(
  t: TestContext,
  stream: object,
  idsOf: (dataDirectories: readonly string[]) => Promise<string[]>,
): Promise<void> {
  const cwd = fs.mkdtempSync(join(directory, 'case-'));
  const path = join(cwd, 'sources.json');
  fs.writeFileSync(path, sourcesOf(old));
  const environment = { DAYBOOK_SOURCES: path, DAYBOOK_STREAM: JSON.stringify(stream), INGEST_PORT: '0' };
  const data = ['first', 'second'].map((name) => join(cwd, name));
  const ingests = await Promise.all(
    data.map((DAYBOOK_DATA_DIR) => startIngestProcess({ cwd, environment: { ...environment, DAYBOOK_DATA_DIR } })),
  );
  const stop = async () => {
    for (const { process } of ingests) process.kill('SIGTERM');
    return Promise.all(ingests.map(({ exited }) => exited));
  };
  t.after(stop);
  const admins = ingests.map(({ adminPort }) => `http://127.0.0.1:${adminPort}`);
  const keys = async () => {
    const { stdout } = await runKeys(['list', '--json', '--ingest', ...admins], { cwd, environment });
    return (JSON.parse(stdout) as KeyList).keys;
  };
  /** Resolves once a metric of each ingest has that value. */
  const each = async (metric: string) => {
    for (const admin of admins) {
      while (!(await (await fetch(`${admin}/metrics`)).text()).includes(`\n${metric}\n`)) await turn();
    }
  };

  const traffic = load(ingests, old);
  await traffic.more(50);
  const { code, stdout, stderr } = await runKeys(['rotate', '--source', 'billing', '--yes'], { cwd, environment });
  assert.equal(code, 0, stderr);
  const newest = stdout.trim();
  while ((await keys()).find(({ keyid }) => keyid === keyidOf(newest))!.ingests < 2) await traffic.more(1);
  await traffic.more(50);

  traffic.sent.secret = newest;
  await traffic.more(50);
  const [used, previous] = await keys();
  assert.deepEqual([used!.keyid, previous!.keyid], [newest, old].map(keyidOf));
  assert.ok(used!.lastUsedAt !== null && previous!.lastUsedAt !== null && used!.lastUsedAt > previous!.lastUsedAt);

  const sound = fs.readFileSync(path);
  fs.writeFileSync(path, sound.subarray(0, -3));
  await each('daybook_ingest_sources_sound 0');
  await traffic.more(50);
  fs.writeFileSync(path, sourcesOf(newest, { value: old, notAfter: '2026-01-01T00:00:00Z' }));
  await each('daybook_ingest_sources_sound 1');
  await each('daybook_ingest_sources_changes_total{outcome="taken"} 2');
  await traffic.more(50);
  for (const { url } of ingests) {
    const body = JSON.stringify(cloudEvent({ id: 'late' }));
    const { status, json } = await post(`${url}/events`, pandaHeaders('/events', old), body);
    assert.deepEqual([status, json.code], [403, 'token_secret_expired']);
  }

  const { ids, refused } = await traffic.stop();
  assert.deepEqual(refused, []);
  assert.deepEqual(await stop(), [
    [0, null],
    [0, null],
  ]);
  const stored = await idsOf(data);
  assert.deepEqual([...new Set(stored)].sort(), [...ids].sort());
  assert.equal(stored.length, ids.size, 'each once');
}

test('two ingests, each with a stream on its own machine: a rotation refuses nobody and loses nothing', async (t) => {
  await rotatesUnderLoad(t, { type: 'embedded' }, async (directories) => {
    const found = await Promise.all(directories.map(readRecords));
    assert.ok(found.every((records) => records.length > 0));
    return found.flat().map(({ id }) => id);
  });
});

if (kafka !== undefined) {
  test('two ingests on one topic: a rotation refuses nobody and loses nothing', async (t) => {
    const params = { brokers: [kafka.facts.broker], topic: newTopicName() };
    const stream = { type: 'kafka', params: { ...params, create: { partitions: 3, replicationFactor: 1 } } };
    await rotatesUnderLoad(t, stream, async () => {
      const reader = await openKafkaReader({ params, consumer: 'test', log: logLines().log });
      const values = valuesOf(await readAll(reader));
      await reader.close();
      return values.map((value) => {
        const envelope = readEnvelope(value);
        assert.ok(!('reason' in envelope));
        return envelope.header.id;
      });
    });
  });
}
