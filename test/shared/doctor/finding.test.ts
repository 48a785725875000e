import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import {
  describe,
  exitCodeOf,
  type Finding,
  findAll,
  findingsOfConfiguration,
  ok,
  problem,
  warning,
} from '../../../shared/doctor/finding.ts';
import { DaybookError } from '../../../shared/errors.ts';

const finding = (status: Finding['status'], code?: Finding['code']): Finding => ({
  check: 'x',
  status,
  message: 'm',
  hint: '',
  ...(code === undefined ? {} : { code }),
});

test('a check that throws becomes a finding, and stops no other', async () => {
  const findings = await findAll([
    { name: 'one', run: () => [ok('fine')] },
    { name: 'two', run: () => Promise.reject(new DaybookError('stream_missing', { detail: 'no topic' })) },
    {
      name: 'three',
      run: () => {
        throw new TypeError('x is not a function');
      },
    },
    { name: 'four', run: () => [warning('w', 'h')] },
  ]);
  assert.deepEqual(
    findings.map(({ check, status, code }) => [check, status, code]),
    [
      ['one', 'ok', undefined],
      ['two', 'problem', 'stream_missing'],
      ['three', 'problem', 'internal_error'],
      ['four', 'warning', undefined],
    ],
  );
  assert.ok(findings.every(({ status, hint }) => (hint === '') === (status === 'ok')));
});

test('a check that hangs is given up and told, and the next one is made', async () => {
  const findings = await findAll([
    { name: 'one', limitMs: 20, run: () => new Promise(() => {}) },
    { name: 'two', run: () => [ok('fine')] },
  ]);
  assert.deepEqual(
    findings.map(({ check, status, message }) => [check, status, message]),
    [
      ['one', 'problem', 'the check was given up after 0.02 s'],
      ['two', 'ok', 'fine'],
    ],
  );
});

test('the process ends after its report, also where what hung holds it', async () => {
  const path = new URL('../../../shared/doctor/finding.ts', import.meta.url);
  const program = `import { findAll, report } from '${path}';
    const run = () => new Promise(() => setInterval(() => {}, 1000));
    report(await findAll([{ name: 'one', limitMs: 20, run }]), true);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { timeout: 20_000 });
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  assert.equal(JSON.parse(stdout).findings.length, 1);
  assert.equal(code, 2);
});

test('the exit code is 1 for a wrong configuration, 2 for another problem, 0 for warnings', () => {
  assert.equal(exitCodeOf([]), 0);
  assert.equal(exitCodeOf([finding('ok'), finding('warning', 'spool_full')]), 0);
  assert.equal(exitCodeOf([finding('problem', 'stream_missing'), finding('ok')]), 2);
  assert.equal(exitCodeOf([finding('problem'), finding('problem', 'configuration_invalid')]), 1);
});

test('every problem of a configuration is a finding of its own; other failures go on', () => {
  const wrong = new DaybookError('configuration_invalid', { detail: 'A: is wrong\nB: is missing' });
  assert.deepEqual(
    findingsOfConfiguration(wrong).map(({ message }) => message),
    ['A: is wrong', 'B: is missing'],
  );
  assert.throws(() => findingsOfConfiguration(new DaybookError('usage')), { code: 'usage' });
});

test('a finding is a group of lines: status, check, what was found, what to do; control characters do not come out', () => {
  const described = describe([
    { check: 'stream', ...ok('fine') },
    { check: 'a', ...problem('b\u001b[2Jad\nnews', 'mend it', 'stream_missing') },
  ]);
  assert.equal(
    described,
    'ok       stream  fine\nproblem  a       b\\u001b[2Jad\\u000anews (stream_missing)\n                 → mend it\n\n1 problem, no warnings.\n',
  );
});
