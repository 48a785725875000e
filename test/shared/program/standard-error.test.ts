import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openStandardError } from '../../../shared/program/standard-error.ts';
import { requireCommand } from '../../require-service.ts';
import { unreadPipe } from '../../unread-pipe.ts';

const directory = mkdtempSync(join(tmpdir(), 'daybook-stderr-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/** A reader that takes so many bytes and then no more, until it is given more room. */
function slowReader(room: number) {
  const reader = {
    room,
    text: '',
    failure: undefined as string | undefined,
    take(bytes: Uint8Array): number {
      if (reader.failure !== undefined) throw Object.assign(new Error(), { code: reader.failure });
      if (reader.room === 0) throw Object.assign(new Error(), { code: 'EAGAIN' });
      const taken = Math.min(reader.room, bytes.length);
      reader.text += Buffer.from(bytes.subarray(0, taken)).toString('latin1');
      reader.room -= taken;
      return taken;
    },
  };
  return reader;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

test('what the reader does not take waits, whole and in order; beyond the bound lines are dropped, counted and told', async () => {
  const reader = slowReader(5);
  const output = openStandardError({ take: reader.take, maxWaitingBytes: 10, retryMs: 1 });
  output.sayDropped = (lines) => `(${lines})\n`;
  for (const text of ['aaa\n', 'bbb\n', 'ccc\n', 'ddd\n', 'eee\n']) output.write(text);
  assert.equal(reader.text, 'aaa\nb');
  assert.equal(output.droppedLines(), 2, 'of which 7 bytes wait, and 4 more would be 11');
  reader.room = 1000;
  await until(() => reader.text.endsWith('ccc\n'));
  output.write('fff\n');
  assert.equal(reader.text, 'aaa\nbbb\nccc\n(2)\nfff\n');
  assert.equal(output.droppedLines(), 2);
});

test('lines of one turn go out together, in their order, before what is written at once', async () => {
  const takes: string[] = [];
  const output = openStandardError({ take: (bytes) => takes.push(`${bytes}`) && bytes.length });
  for (const text of ['aaa\n', 'bbb\n']) output.writeSoon(text);
  assert.deepEqual(takes, []);
  await new Promise(setImmediate);
  output.writeSoon('ccc\n');
  output.write('ddd\n');
  output.writeSoon('eee\n');
  output.finish();
  await new Promise(setImmediate);
  assert.deepEqual(takes, ['aaa\nbbb\n', 'ccc\nddd\n', 'eee\n']);
});

test('a reader that is gone, or a disk that is full, costs the lines and no more; they are told if it comes back', () => {
  const reader = slowReader(1000);
  const output = openStandardError({ take: reader.take });
  output.sayDropped = (lines) => `(${lines})\n`;
  reader.failure = 'ENOSPC';
  output.write('aaa\n');
  output.write('bbb\n');
  reader.failure = undefined;
  output.write('ccc\n');
  assert.match(reader.text, /^\(\d\)\nccc\n$/);
  assert.ok(output.droppedLines() >= 2);
});

test('at the end what waits is written as long as somebody takes it, and given up where nobody does', () => {
  const reader = slowReader(0);
  let calls = 0;
  // At every other call one byte: slow is not stuck.
  const take = (bytes: Uint8Array) => {
    if (calls++ % 2 === 0) throw Object.assign(new Error(), { code: 'EAGAIN' });
    return reader.take(bytes.subarray(0, 1));
  };
  const output = openStandardError({ take, maxWaitingBytes: 8, giveUpMs: 30 });
  output.sayDropped = (lines) => `(${lines})\n`;
  output.write('aaa\n');
  output.write('bbbbb\n');
  output.finish();
  assert.equal(reader.text, '');
  reader.room = 1000;
  output.finish();
  assert.equal(reader.text, 'aaa\n(1)\n');
});

/** Logs 20,000 lines as fast as it can, says so on stdout, and then does what its argument says. */
const script = `
  import { spawnSync } from 'node:child_process';
  import fs from 'node:fs';
  import { syncBuiltinESMExports } from 'node:module';
  import { openLog } from '${new URL('../../../shared/program/log.ts', import.meta.url).href}';
  import { droppedLines } from '${new URL('../../../shared/program/standard-error.ts', import.meta.url).href}';
  const { writeSync } = fs;
  let tries = 0;
  fs.writeSync = (...given) => { tries++; return writeSync(...given); };
  syncBuiltinESMExports();
  const log = openLog('test', 'trace');
  for (let line = 0; line < 20_000; line++) log.trace({ line }, 'x'.repeat(100));
  process.stdout.write(droppedLines() + '\\n');
  if (process.argv.at(-1) === 'child') {
    // It shares this stderr, and makes it blocking as it starts and as it ends.
    spawnSync(process.execPath, ['--eval', 'void process.stderr'], { stdio: ['ignore', 'ignore', 'inherit'] });
    // What waits is tried again.
    for (const before = tries; tries === before; ) await new Promise(setImmediate);
  }
  if (process.argv.at(-1) === 'exit') process.exit(4);
  if (process.argv.at(-1) === 'throw') setImmediate(() => { throw new Error('y'.repeat(200_000)); });
  if (process.argv.at(-1) === 'stay') process.stdin.once('data', () => { log.info('after'); process.stdin.destroy(); });
`;

function start(then: string, stderr: number | 'pipe'): ChildProcess {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script, then], {
    stdio: ['pipe', 'pipe', stderr],
  });
  after(() => child.kill('SIGKILL'));
  return child;
}

for (const [then, exitCode] of [
  ['end', 0],
  ['exit', 4],
  ['throw', 1],
  ['child', 0],
] as const) {
  test(`a program whose stderr nobody reads ends all the same: ${then}`, { timeout: 20_000 }, async () => {
    for (const stderr of [unreadPipe(join(directory, then)).fd, 'pipe'] as const) {
      const child = start(then, stderr);
      const [dropped] = await once(child.stdout!, 'data');
      assert.ok(Number(dropped) > 1000, String(dropped));
      assert.deepEqual(await once(child, 'exit'), [exitCode, null]);
      if (stderr !== 'pipe') closeSync(stderr);
    }
  });
}

test('a terminal that is paused stops no program', { timeout: 20_000 }, async (t) => {
  if (!requireCommand(t, 'script')) return;
  const [scriptPath, told] = [join(directory, 'log.mjs'), join(directory, 'told')];
  writeFileSync(scriptPath, script);
  const command = `'${process.execPath}' '${scriptPath}' end >'${told}'; echo ended $? >>'${told}'`;
  const env = { PATH: process.env.PATH, SHELL: '/bin/sh' };
  // What the terminal would show is read by nobody.
  const child = spawn('script', ['-qec', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  after(() => child.kill('SIGKILL'));
  await until(() => existsSync(told) && readFileSync(told, 'utf8').includes('ended'));
  const [, dropped] = /^(\d+)\nended 0\n$/.exec(readFileSync(told, 'utf8')) ?? [];
  assert.ok(Number(dropped) > 1000, dropped);
});

test('once the pipe is read again the log goes on: what waited, how many lines were dropped, what comes now', {
  timeout: 20_000,
}, async () => {
  const pipe = unreadPipe(join(directory, 'stay'));
  const child = start('stay', pipe.fd);
  const dropped = Number((await once(child.stdout!, 'data'))[0]);
  await until(() => pipe.read().length > 1024 * 1024);
  child.stdin!.write('go\n');
  const exited = once(child, 'exit');
  await until(() => pipe.read().endsWith('"msg":"after"}\n'));
  assert.deepEqual(await exited, [0, null]);
  const lines = pipe
    .read()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const [told, last] = lines.slice(-2);
  assert.deepEqual(
    lines.slice(0, -2).map(({ line }) => line),
    Array.from({ length: 20_000 - dropped }, (_, line) => line),
  );
  assert.deepEqual([told.level, told.program, told.dropped, last.level], ['warn', 'test', dropped, 'info']);
});

test('into a file every line is written, however many', { timeout: 20_000 }, async () => {
  const path = join(directory, 'log');
  const file = openSync(path, 'a');
  const child = start('end', file);
  closeSync(file);
  const [dropped] = await once(child.stdout!, 'data');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  assert.equal(Number(dropped), 0);
  assert.equal(readFileSync(path, 'utf8').trimEnd().split('\n').length, 20_000);
});
