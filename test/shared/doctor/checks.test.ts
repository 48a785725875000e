import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkClock } from '../../../shared/doctor/check-clock.ts';
import { checkFolder, checkRoom, checkSecretFiles, inUnits } from '../../../shared/doctor/check-files.ts';
import { checkDistinct, checkListener, otherProgram } from '../../../shared/doctor/check-listener.ts';
import { openWarningCollector } from '../../../shared/doctor/collect-warnings.ts';
import { ok } from '../../../shared/doctor/finding.ts';

const directory = await mkdtemp(join(tmpdir(), 'daybook-doctor-'));
after(() => rm(directory, { recursive: true }));

test('a clock that is off by more than 30 s is a warning, by more than 300 s a problem, told with its direction', () => {
  const at = (aheadSeconds: number) => {
    const date = 'Fri, 20 Nov 2026 12:00:00 GMT';
    return checkClock({ date, receivedAtMs: Date.parse(date) + aheadSeconds * 1000 }, "Stripe's")[0]!;
  };
  assert.equal(at(0).status, 'ok');
  assert.equal(at(-30).status, 'ok');
  assert.match(at(31).message, /31 s ahead of Stripe's/);
  assert.equal(at(300).status, 'warning');
  assert.match(at(-301).message, /301 s behind Stripe's: signatures made now are refused/);
  assert.equal(at(-301).status, 'problem');
  assert.deepEqual(checkClock({ date: undefined, receivedAtMs: 0 }, 'x'), []);
});

test('files of secrets that anybody can read are warned of, by their name alone', async () => {
  const path = join(directory, 'key.pem');
  await writeFile(path, 'secret');
  for (const [mode, status] of [
    [0o600, 'ok'],
    [0o640, 'ok'],
    [0o644, 'warning'],
    [0o602, 'warning'],
  ] as const) {
    await chmod(path, mode);
    const [found] = checkSecretFiles([{ name: 'COMPACTOR_SIGNING_KEY_FILE', path }]);
    assert.equal(found!.status, status);
    assert.match(found!.message, /^COMPACTOR_SIGNING_KEY_FILE: /);
  }
  assert.deepEqual(checkSecretFiles([{ name: 'x', path: join(directory, 'none') }]), []);
});

test('a folder is told as missing, open to others, no folder, or sound', async () => {
  const folder = join(directory, 'folder');
  assert.match(checkFolder('the data directory', folder)[0]!.message, /^the data directory is not there yet/);
  await mkdir(folder, { mode: 0o700 });
  assert.equal(checkFolder('it', folder)[0]!.status, 'ok');
  await chmod(folder, 0o755);
  assert.match(checkFolder('it', folder)[0]!.message, /open to others \(0755\)/);
  await writeFile(join(directory, 'file'), '');
  assert.equal(checkFolder('it', join(directory, 'file'))[0]!.status, 'problem');
});

test('a folder that cannot be written, or made, is a problem', {
  skip: process.getuid?.() === 0 && 'root writes everywhere',
}, async () => {
  const folder = join(directory, 'closed');
  await mkdir(folder, { mode: 0o500 });
  assert.match(checkFolder('it', folder)[0]!.message, /cannot be written to/);
  assert.match(checkFolder('it', join(folder, 'below'))[0]!.message, /cannot be made/);
});

test('room on a disk is compared with what may be needed, also of a folder that is not there yet', () => {
  assert.equal(checkRoom('the spool', join(directory, 'a', 'b'), 1)[0]!.status, 'ok');
  assert.equal(checkRoom('the spool', directory, Number.MAX_SAFE_INTEGER)[0]!.status, 'warning');
  assert.deepEqual([512, 1024, 1536, 1024 ** 3].map(inUnits), ['512 B', '1 KiB', '1.5 KiB', '1 GiB']);
});

const ours = (status: number, body: string) =>
  status === 200 && body === 'ours' ? ok('ours answers') : otherProgram('X_PORT', 1);

async function holding(answer: RequestListener, work: (port: number) => Promise<void>): Promise<void> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  try {
    await work((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

test('a port is free, held by the program itself, or by another', async () => {
  const look = (port: number, host = '127.0.0.1') =>
    checkListener({ setting: 'X_PORT', host, port, path: '/', explain: ours });
  let free = 0;
  await holding(
    (_, response) => response.end('ours'),
    async (port) => {
      free = port;
      assert.deepEqual(await look(port), [ok('ours answers')]);
    },
  );
  assert.match((await look(free))[0]!.message, /is free \(X_PORT\)/);
  await holding(
    (_, response) => response.end('theirs'),
    async (port) => {
      const [found] = await look(port);
      assert.deepEqual([found!.status, found!.code], ['problem', 'listener_unavailable']);
    },
  );
  await holding(
    (request) => request.socket.resetAndDestroy(),
    async (port) => assert.match((await look(port))[0]!.message, /another program holds port/),
  );
  assert.match((await look(0))[0]!.message, /any free port/);
  assert.match((await look(1, '192.0.2.1'))[0]!.message, /cannot be opened: EADDRNOTAVAIL/);
});

test('two listeners of one port are a problem', () => {
  const at = (setting: string, port: number) => ({ setting, host: 'h', port, path: '/', explain: ours });
  assert.equal(checkDistinct([at('A', 80), at('B', 80)])[0]!.message, 'A and B are the same port');
  assert.deepEqual(checkDistinct([at('A', 0), at('B', 0)]), []);
  assert.deepEqual(checkDistinct([at('A', 80), at('B', 81)]), []);
});

test("a driver's warnings become findings with their facts; what kafkajs says itself does not", () => {
  const { log, found } = openWarningCollector();
  log.info('nothing');
  log.warn({ kafkajs: 'Connection', broker: 'b' }, 'tries again');
  log.warn({ topic: 't', retentionMs: 60_000 }, 'events may age out');
  assert.deepEqual(found('mend'), [
    { status: 'warning', message: 'events may age out (retentionMs 60000)', hint: 'mend' },
  ]);
});
