import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { secretFilesOf } from '../../shared/secret-files.ts';

const directory = await mkdtemp(join(tmpdir(), 'daybook-secret-files-'));
after(() => rm(directory, { recursive: true }));

test('the files of secrets are those of settings, of references, of the sources, and .env', async () => {
  await writeFile(join(directory, '.env'), '');
  const environment = { DAYBOOK_SOURCES: '/etc/sources.json', DAYBOOK_STREAM_FILE: '/s', INGEST_PORT_FILE: '/no' };
  const references = [
    { where: 'DAYBOOK_SOURCES[0].secrets[0]', reference: { file: '/one' } },
    { where: 'DAYBOOK_SOURCES[0].secrets[1]', reference: 'text' },
  ];
  assert.deepEqual(
    secretFilesOf(environment, directory, ['DAYBOOK_SOURCES', 'DAYBOOK_STREAM', 'INGEST_PORT'], references).map(
      ({ name }) => name,
    ),
    ['.env', 'DAYBOOK_STREAM_FILE', 'DAYBOOK_SOURCES', 'DAYBOOK_SOURCES[0].secrets[0]'],
  );
  assert.deepEqual(secretFilesOf({ DAYBOOK_SOURCES: ' [{}]' }, join(directory, 'none'), ['DAYBOOK_SOURCES'], []), []);
});
