import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings } from '../../shared/config.ts';

const read = (text: string) => readSettings({ COMPACTOR_SCHEDULE: text }, ['COMPACTOR_SCHEDULE']).COMPACTOR_SCHEDULE;

test('of each job one entry or several, a time alone or with options', () => {
  const text =
    '{"replicate":["after run",{"when":"0 6 * * 0","options":["--check"]}],"verify":"0 5 1 * *","prune":{"when":"0 7 * * *","options":["--apply"]}}';
  assert.deepEqual(read(text), [
    { job: 'replicate', when: 'after run', options: [] },
    { job: 'replicate', when: '0 6 * * 0', options: ['--check'] },
    { job: 'prune', when: '0 7 * * *', options: ['--apply'] },
    { job: 'verify', when: '0 5 1 * *', options: [] },
  ]);
  assert.deepEqual(read('{}'), []);
});

for (const [text, problem] of [
  ['{"verify":"daily"}', /COMPACTOR_SCHEDULE\.verify\[0\]\.when: is neither five fields of a crontab/],
  ['{"verify":"0 6 * * * *"}', /when: is neither/],
  ['{"verify":"0 25 * * *"}', /when: is neither/],
  ['{"verify":{"options":[]}}', /COMPACTOR_SCHEDULE\.verify\[0\]\.when: is required/],
  ['{"prune":{"when":"0 7 * * *","options":["--force"]}}', /prune\[0\]\.options\[0\]: takes --apply alone/],
  ['{"run":"0 7 * * *"}', /has no member "run"/],
  ['{"verify":7}', /COMPACTOR_SCHEDULE\.verify\[0\]: must be an object/],
] as const) {
  test(`${text} is refused, and why`, () => {
    assert.throws(() => read(text), { code: 'configuration_invalid', message: problem });
  });
}
