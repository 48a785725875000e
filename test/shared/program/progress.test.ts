import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

/** Says two steps, the first twice, within one moment, then ends; with an argument it first cuts itself off from who started it. */
const script = `
  import { openProgress } from '${new URL('../../../shared/program/progress.ts', import.meta.url).href}';
  import { openLog } from '${new URL('../../../shared/program/log.ts', import.meta.url).href}';
  if (process.argv[1] === 'alone') process.disconnect();
  const { progress, done } = openProgress(openLog('test', 'info'));
  progress('reading', 7);
  progress('reading', 8, 100);
  progress('listing', 0);
  done();
  if (process.connected) process.disconnect();
`;

const told = [
  { step: 'reading', count: 7, total: null },
  { step: 'listing', count: 0, total: null },
];

for (const [name, alone] of [
  ['who started the program over IPC is told how far it is, now and then, and of each step as it begins', []],
  ['one that is gone by then is not an error', ['alone']],
] as const) {
  test(name, async () => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script, ...alone], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const messages: unknown[] = [];
    let said = '';
    child.on('message', (message) => messages.push(message));
    child.stderr!.on('data', (chunk) => {
      said += chunk;
    });
    assert.deepEqual(await once(child, 'close'), [0, null], said);
    assert.deepEqual(messages, alone.length > 0 ? [] : told);
    assert.equal(said, '', 'a log line comes after ten seconds alone');
  });
}
