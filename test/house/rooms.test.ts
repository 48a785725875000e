/** Who may import whom, so that each room can be read and changed by itself. Imports of types alone count too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importsOf, productFiles } from './source-files.ts';

/**
 * The rooms of each house: its folders, and the files beside them. Lower rooms first: a room imports only from those named
 * in its row, each of which has its own row above. `shared/` is open to all rooms of the other two.
 */
const mayImport: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  shared: {
    'errors.ts': [],
    'clock.ts': [],
    'address-list.ts': [],
    'setting-names.ts': [],
    'event-line.ts': [],
    'parallel.ts': [],
    json: ['errors.ts'],
    files: ['errors.ts'],
    program: ['errors.ts', 'clock.ts'],
    'setting-shapes.ts': ['json', 'files', 'setting-names.ts'],
    'redaction.ts': ['setting-shapes.ts'],
    'job-schedule.ts': [],
    'notify-settings.ts': ['setting-shapes.ts'],
    http: ['errors.ts', 'program'],
    metrics: ['errors.ts', 'program', 'http'],
    crypto: ['errors.ts', 'files'],
    kms: ['errors.ts', 'http', 'crypto'],
    schemes: ['errors.ts', 'clock.ts', 'address-list.ts', 'json', 'files', 'setting-shapes.ts', 'crypto'],
    'envelope.ts': ['clock.ts', 'crypto', 'schemes'],
    'event-sighting.ts': ['clock.ts', 'envelope.ts'],
    doctor: ['errors.ts', 'program', 'http', 'schemes'],
    // A stream and a store carry bytes: neither knows what an envelope or a line of the archive is.
    store: ['errors.ts', 'clock.ts', 'files', 'setting-shapes.ts', 'http', 'doctor'],
    stream: ['errors.ts', 'clock.ts', 'files', 'program', 'setting-shapes.ts', 'http', 'crypto', 'doctor'],
    'witness-settings.ts': ['setting-shapes.ts', 'crypto'],
    'postgres-settings.ts': ['setting-shapes.ts'],
    'config.ts': [
      'errors.ts',
      'address-list.ts',
      'setting-names.ts',
      'files',
      'setting-shapes.ts',
      'redaction.ts',
      'job-schedule.ts',
      'notify-settings.ts',
      'crypto',
      'schemes',
      'store',
      'stream',
      'witness-settings.ts',
      'postgres-settings.ts',
    ],
    'secret-files.ts': ['schemes', 'doctor', 'config.ts'],
  },
  ingest: {
    // Runs in programs and pages of others: it takes nothing along.
    client: [],
    'settings.ts': [],
    'help.ts': ['settings.ts'],
    receive: [],
    spool: [],
    schemes: ['receive'],
    'public-keys': ['schemes'],
    publish: ['spool'],
    'metrics.ts': ['spool', 'publish'],
    'publish-or-spool.ts': ['spool', 'publish'],
    'receive-event.ts': ['receive', 'schemes', 'publish-or-spool.ts'],
    'app.ts': ['receive', 'schemes', 'publish', 'receive-event.ts'],
    'serve.ts': ['receive', 'spool', 'schemes', 'publish', 'publish-or-spool.ts', 'receive-event.ts', 'app.ts'],
    'watch-sources.ts': ['schemes'],
    'configuration.ts': ['settings.ts', 'spool', 'schemes', 'watch-sources.ts'],
    'spool-command.ts': ['spool', 'configuration.ts'],
    redact: ['configuration.ts'],
    doctor: ['receive', 'spool', 'schemes', 'public-keys', 'configuration.ts', 'redact'],
    'run-serve.ts': [
      ...[
        'public-keys',
        'spool',
        'publish',
        'schemes',
        'metrics.ts',
        'serve.ts',
        'watch-sources.ts',
        'configuration.ts',
      ],
    ],
    keys: ['configuration.ts'],
    'command-line.ts': ['help.ts', 'spool-command.ts', 'redact', 'doctor', 'keys', 'run-serve.ts'],
    'main.ts': ['command-line.ts'],
  },
  compactor: {
    'settings.ts': [],
    staging: [],
    stripe: [],
    ledger: [],
    replicate: ['ledger'],
    backup: [],
    notify: [],
    objects: ['ledger'],
    workers: ['ledger', 'objects'],
    'night.ts': ['stripe', 'ledger', 'workers'],
    anchors: ['ledger', 'night.ts'],
    'configuration.ts': ['settings.ts', 'stripe', 'night.ts', 'anchors'],
    stream: ['staging', 'ledger', 'objects', 'night.ts'],
    day: ['staging', 'stripe', 'ledger', 'objects', 'workers', 'night.ts', 'stream'],
    verify: ['staging', 'ledger', 'anchors', 'stream', 'day'],
    restore: ['staging', 'ledger', 'objects', 'stream', 'day', 'verify'],
    console: ['ledger', 'stream', 'day', 'restore'],
    export: ['ledger', 'objects', 'day', 'restore'],
    'assemble-manifest.ts': ['ledger', 'night.ts', 'stream', 'day'],
    'night-report.ts': ['ledger', 'night.ts', 'stream', 'day', 'assemble-manifest.ts'],
    'close-together.ts': [
      ...['ledger', 'workers', 'night.ts', 'stream', 'day', 'assemble-manifest.ts', 'night-report.ts'],
    ],
    'compact.ts': [
      ...['staging', 'ledger', 'night.ts', 'stream', 'day', 'assemble-manifest.ts', 'night-report.ts'],
      'close-together.ts',
    ],
    commands: [
      ...['settings.ts', 'staging', 'stripe', 'ledger', 'objects', 'night.ts', 'configuration.ts', 'stream', 'day'],
      ...['verify', 'restore', 'export', 'console', 'compact.ts'],
      ...['replicate', 'backup', 'anchors', 'notify'],
    ],
    gate: [],
    pages: ['console', 'gate'],
    serve: [
      ...[
        'settings.ts',
        'ledger',
        'anchors',
        'configuration.ts',
        'notify',
        'day',
        'console',
        'commands',
        'gate',
        'pages',
      ],
    ],
    doctor: ['settings.ts', 'stripe', 'ledger', 'replicate', 'anchors', 'configuration.ts', 'stream', 'day', 'gate'],
    'command-line.ts': ['commands', 'serve', 'doctor'],
    'main.ts': ['command-line.ts'],
  },
};

const roomOf = (path: string) => path.split('/')[1]!;

for (const [house, rows] of Object.entries(mayImport)) {
  test(`a room of ${house} imports only from rooms below it, and none leads back to itself`, () => {
    const files = productFiles().filter((path) => path.startsWith(`${house}/`));
    assert.deepEqual([...new Set(files.map(roomOf))].sort(), Object.keys(rows).sort(), 'each room has a row');
    const wrong = files.flatMap((path) =>
      importsOf(path)
        .filter((imported) => imported.startsWith(`${house}/`) && roomOf(imported) !== roomOf(path))
        .filter((imported) => !rows[roomOf(path)]!.includes(roomOf(imported)))
        .map((imported) => `${path} imports ${imported}`),
    );
    assert.deepEqual(wrong, []);
    // Where each row names rows above it alone, no way up leads down again.
    const order = Object.keys(rows);
    const upward = order.flatMap((room, place) =>
      rows[room]!.filter((below) => !order.slice(0, place).includes(below)).map((below) => `${room} names ${below}`),
    );
    assert.deepEqual(upward, []);
  });
}

test('no file leads back to itself', () => {
  const imports = new Map(productFiles().map((path) => [path, importsOf(path)]));
  const circles = [...imports.keys()].filter((path) => {
    const reached = new Set<string>();
    const open = [path];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      for (const next of imports.get(at) ?? []) {
        if (!reached.has(next)) open.push(next);
        reached.add(next);
      }
    }
    return reached.has(path);
  });
  assert.deepEqual(circles, []);
});

test('a driver of a stream or a store knows no other driver', () => {
  const driverOf = (path: string) => /^shared\/(?:stream|store)\/\w+\//.exec(path)?.[0];
  const wrong = productFiles().flatMap((path) => {
    const own = driverOf(path);
    if (own === undefined) return [];
    return importsOf(path)
      .filter((imported) => ![undefined, own].includes(driverOf(imported)))
      .map((imported) => `${path} imports ${imported}`);
  });
  assert.deepEqual(wrong, []);
});
