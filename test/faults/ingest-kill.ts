/**
 * Preloaded into ingest on a file spool, its spool command, or `redact` on embedded streams (`node --import`): ends it with
 * SIGKILL at the n-th time that it does KILL_STEP; KILL_AT is n, KILL_WAY whether `before` the step's effect or `after` it,
 * nobody being told. `append`: the commit that puts records into the spool, or into the readers' stream. `remove`: the one that takes out what the stream acknowledged.
 * `requeue`: the one that brings dead letters back. `deliver`: a batch is written to the broker at KILL_PORT; `after` is
 * before any answer. `place`: a file takes its name, as that of the positions of `redact` does.
 */
import fs from 'node:fs/promises';
import { Socket } from 'node:net';
import { DatabaseSync } from 'node:sqlite';

const { KILL_STEP: step, KILL_AT: at, KILL_WAY: way, KILL_PORT: port } = process.env;
const statements: Record<string, string> = {
  append: 'INSERT INTO records',
  remove: 'DELETE FROM records',
  requeue: 'DELETE FROM dead',
};
/** Larger than any other request to a broker. */
const batchBytes = 8_192;
let count = 0;

function die(): void {
  process.kill(process.pid, 'SIGKILL');
  // The signal may be on its way yet: nothing of this process may happen after it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** `effect` as it is, but for the n-th time. */
function around<T>(effect: () => T): T {
  count += 1;
  if (count !== Number(at)) return effect();
  if (way === 'after') effect();
  die();
  throw new Error('killed');
}

function watchCommits(beginning: string): void {
  const { prepare, exec } = DatabaseSync.prototype;
  let isOfStep = false;
  DatabaseSync.prototype.prepare = function (this: DatabaseSync, sql: string) {
    const statement = prepare.call(this, sql);
    if (!sql.startsWith(beginning)) return statement;
    const { run } = statement;
    statement.run = ((...values: Parameters<typeof run>) => {
      isOfStep = true;
      return run.apply(statement, values);
    }) as typeof run;
    return statement;
  };
  DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
    const isLast = sql === 'COMMIT' && isOfStep;
    if (sql === 'BEGIN IMMEDIATE' || sql === 'COMMIT') isOfStep = false;
    if (isLast) around(() => exec.call(this, sql));
    else exec.call(this, sql);
  };
}

function watchBatches(): void {
  const { write } = Socket.prototype;
  Socket.prototype.write = function (this: Socket, ...parameters: Parameters<typeof write>) {
    const [bytes] = parameters;
    const isBatch = this.remotePort === Number(port) && bytes.length > batchBytes;
    return isBatch ? around(() => write.apply(this, parameters)) : write.apply(this, parameters);
  } as typeof write;
}

function watchRenames(): void {
  const { rename } = fs;
  fs.rename = (from, to) => around(() => rename(from, to));
}

if (step === 'deliver') watchBatches();
else if (step === 'place') watchRenames();
else watchCommits(statements[step!]!);
