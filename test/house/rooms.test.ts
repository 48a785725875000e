/** Who may import whom inside the compactor, so that each room can be read and changed by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importsOf, productFiles } from './source-files.ts';

/** A folder of the compactor is a room. A file beside the folders (`night.ts`) is one too. */
const roomOf = (path: string) => path.split('/')[1]!;

/** Lower rooms first: a room imports only from the rooms named in its row. `shared/` is open to all. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  staging: [],
  stripe: [],
  ledger: [],
  objects: ['ledger'],
  'night.ts': ['ledger', 'stripe'],
  stream: ['staging', 'ledger', 'objects', 'night.ts'],
  day: ['staging', 'stripe', 'ledger', 'objects', 'night.ts', 'stream'],
  verify: ['staging', 'ledger', 'stream', 'day'],
  restore: ['staging', 'ledger', 'objects', 'day', 'verify'],
};

/** From each room to those that it imports, its own left out. */
function arrows(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const path of productFiles().filter((each) => each.startsWith('compactor/'))) {
    const room = roomOf(path);
    const into = found.get(room) ?? new Set<string>();
    found.set(room, into);
    for (const imported of importsOf(path)) {
      if (imported.startsWith('compactor/') && roomOf(imported) !== room) into.add(roomOf(imported));
    }
  }
  return found;
}

test('a room of the compactor imports only from the rooms below it', () => {
  const found = arrows();
  const wrong = Object.entries(mayImport).flatMap(([room, allowed]) => {
    const imported = found.get(room);
    assert.ok(imported !== undefined, `compactor/${room} is there`);
    return [...imported].filter((each) => !allowed.includes(each)).map((each) => `${room} imports ${each}`);
  });
  assert.deepEqual(wrong, []);
});

test('no room of the compactor leads back to itself', () => {
  const found = arrows();
  const circles = [...found.keys()].filter((room) => {
    const reached = new Set<string>();
    const open = [room];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      for (const next of found.get(at) ?? []) {
        if (!reached.has(next)) open.push(next);
        reached.add(next);
      }
    }
    return reached.has(room);
  });
  assert.deepEqual(circles, []);
});
