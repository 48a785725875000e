/**
 * Preloaded into `keys rotate` (`node --import`): ends it with SIGKILL at KILL_STEP, KILL_WAY `before` its effect or `after`
 * it. `secret`: the link that makes the file of the new secret. `rename`: the sources file has its new content. `sync`: so
 * that this survives a power cut.
 */
import fs from 'node:fs';
import { tmpdir } from 'node:os';

const { KILL_STEP: step, KILL_WAY: way } = process.env;

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal may be on its way yet: nothing of this process may happen after it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  throw new Error('killed');
}

if (step === 'secret') {
  const { link } = fs.promises;
  fs.promises.link = async (...parameters) => {
    if (way === 'after') await link(...parameters);
    die();
  };
} else {
  const { renameSync } = fs;
  let isRenamed = false;
  fs.renameSync = (...parameters) => {
    if (step === 'rename' && way === 'before') die();
    renameSync(...parameters);
    isRenamed = true;
    if (step === 'rename') die();
  };
  const file = await fs.promises.open(tmpdir());
  await file.close();
  const prototype = Object.getPrototypeOf(file) as fs.promises.FileHandle;
  const { sync } = prototype;
  prototype.sync = async function (this: fs.promises.FileHandle) {
    if (isRenamed && way === 'before') die();
    await sync.call(this);
    if (isRenamed) die();
  };
}
