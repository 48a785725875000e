/** A reader that deploy/elk/README.md shows, run as it stands: each id once, however often its record comes. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import { root } from '../house/source-files.ts';
import { passedOn, type ReadersRecord, streamedEvents } from './readers-records.ts';
import { shownBlock } from './search-cluster.ts';

const toSeconds = Date.parse('2026-11-20T12:00:00Z') / 1_000;
const recordsOf = (count: number, seed: string, fromSeconds: number) =>
  streamedEvents({ count, seed, fromSeconds, toSeconds: fromSeconds + 3_600 }).map(passedOn);

/** What readers are sent, perhaps again and again, and what ends it. */
export function recordsToRead(): { readonly records: readonly ReadersRecord[]; readonly last: ReadersRecord } {
  const [last] = recordsOf(1, 'last', toSeconds);
  return { records: recordsOf(200, 'read', toSeconds - 86_400), last: last! };
}

/** The database of a reader has these, in their order, and no other. */
export function assertTaken(path: string, expected: readonly ReadersRecord[]): void {
  // Not to read alone: a reader that was killed in a transaction leaves what SQLite has to take back first.
  const database = new DatabaseSync(path);
  const rows = database.prepare('SELECT id AS key, document AS value FROM events ORDER BY rowid').all();
  database.close();
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    expected,
  );
}

/** Runs the block that holds the text. */
export function startReader(t: TestContext, part: string, environment: Record<string, string>) {
  const args = ['--no-warnings', '--input-type=module', '--eval', shownBlock('js', part)];
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exit = once(child, 'exit');
  let complaint = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const kill = async () => {
    child.kill('SIGKILL');
    await exit;
  };
  t.after(kill);
  return {
    kill,
    /** The ids that it says to be new, up to the first that ends it. */
    async idsUntil(isLast: (id: string) => boolean): Promise<string[]> {
      const ids: string[] = [];
      for await (const line of createInterface({ input: child.stdout! })) {
        if (!line.startsWith('new: ')) continue;
        const id = line.slice('new: '.length);
        ids.push(id);
        if (isLast(id)) return ids;
      }
      throw new Error(`the reader ended after ${ids.length} ids: ${complaint}`);
    },
  };
}
