import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { checkSpool, openSpool, type SpoolTypes, spoolTypes } from '../../../ingest/spool/open-spool.ts';
import { systemClock } from '../../../shared/clock.ts';
import type { SpoolSettings } from '../../../shared/config.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { capturedLog } from '../../captured-log.ts';

const bothTypes: SpoolTypes = { file: spoolTypes.file, memory: spoolTypes.memory };

function problemsOf(settings: SpoolSettings, types = bothTypes): string[] {
  const problems: string[] = [];
  checkSpool(settings, types, problems);
  return problems;
}

function context() {
  return { dataDirectory: 'unused', clock: systemClock, log: capturedLog().log, use: 'drain' as const };
}

test('a type that is not there is a problem that names those that are', () => {
  assert.deepEqual(problemsOf({ type: 'flie' }), ['INGEST_SPOOL.type: "flie" is none of file, memory']);
  assert.deepEqual(problemsOf({ type: 'toString' }), ['INGEST_SPOOL.type: "toString" is none of file, memory']);
});

test('each unknown parameter is a problem that names the known ones', () => {
  assert.deepEqual(problemsOf({ type: 'file', params: { maxBites: 1, path: '/' } }), [
    'INGEST_SPOOL.params.maxBites: is not a parameter of file, which has maxBytes',
    'INGEST_SPOOL.params.path: is not a parameter of file, which has maxBytes',
  ]);
});

test('a wrong value of a parameter is a problem that does not quote it', () => {
  for (const maxBytes of [0, -1, 1.5, '4096', null]) {
    const [problem, ...others] = problemsOf({ type: 'memory', params: { maxBytes } });
    assert.deepEqual(others, []);
    assert.match(problem!, /^INGEST_SPOOL\.params\.maxBytes: must be a whole number of bytes/);
  }
});

test('sound settings have no problem, with params or without', () => {
  assert.deepEqual(problemsOf({ type: 'file' }), []);
  assert.deepEqual(problemsOf({ type: 'memory', params: { maxBytes: 4096 } }), []);
});

test('opening refuses what the check finds', async () => {
  await assert.rejects(openSpool({ type: 'disk' }, context()), (error) => {
    assert.ok(error instanceof DaybookError);
    assert.equal(error.code, 'configuration_invalid');
    assert.match(error.message, /"disk" is none of file, memory/);
    return true;
  });
});

test('a type given by code is known like the others, and gets its params as its schema reads them', async () => {
  const seen: unknown[] = [];
  const types: SpoolTypes = {
    ...bothTypes,
    tape: {
      params: z.strictObject({ reels: z.number().default(2) }),
      open: async (options) => {
        seen.push(options.params);
        return bothTypes.memory!.open({ ...options, params: { maxBytes: 1_000 } });
      },
    },
  };
  const store = await openSpool({ type: 'tape' }, context(), types);
  await store.append([{ key: 'k', value: Buffer.from('v') }]);
  await store.close();
  assert.deepEqual(seen, [{ reels: 2 }]);
  assert.deepEqual(problemsOf({ type: 'paper' }, types), ['INGEST_SPOOL.type: "paper" is none of file, memory, tape']);
  assert.deepEqual(problemsOf({ type: 'tape', params: { reel: 1 } }, types), [
    'INGEST_SPOOL.params.reel: is not a parameter of tape, which has reels',
  ]);
});
