/** What the help of each command adds to its options. */
import type { CommandHelp } from '../../shared/program/help.ts';
import {
  archiveSettings,
  backupSettings,
  holdSettings,
  listSettings,
  nightSettings,
  pruneSettings,
  replicateSettings,
  restoreSettings,
  restoreToSettings,
  serveSettings,
  storeSettings,
  stripeSettings,
  waitingSettings,
  witnessSettings,
} from '../settings.ts';

/** The public half of the signing key counts as a verifying key where it is given. */
const readerSettings = [...archiveSettings, 'COMPACTOR_SIGNING_KEY'] as const;

export const help: Readonly<Record<string, CommandHelp>> = {
  'daybook-compactor': {
    example: 'node compactor/main.ts list',
    exits: {
      2: 'something failed, and nothing is lost: run it again',
      3: 'a fault in the archive, or a day that is known to be incomplete',
    },
  },
  run: {
    example: 'node compactor/main.ts run --day 2026-11-20 --force',
    settings: [...nightSettings, ...replicateSettings],
    exits: {
      2: 'something failed, and nothing is lost: run it again',
      3: 'a fault in the archive, or a day of it is incomplete',
    },
  },
  list: {
    example: 'node compactor/main.ts list --source platform --from 2026-11-01 --verdict incomplete',
    settings: [...readerSettings, ...listSettings, ...waitingSettings, 'DAYBOOK_SOURCES'],
    exits: { 2: 'the store, or with --waiting the stream, cannot be read', 3: 'a fault in the ledger' },
  },
  report: {
    example: 'node compactor/main.ts report --month 2026-11 --source platform',
    settings: [...readerSettings, 'DAYBOOK_SOURCES'],
    exits: { 2: 'the store cannot be read', 3: 'a fault in the ledger: nothing is reported' },
  },
  verify: {
    example: 'node compactor/main.ts verify --identity archive-identity.txt --secrets sources.json',
    settings: [...readerSettings, ...witnessSettings],
    exits: {
      0: 'all that was looked at holds',
      2: 'the store cannot be read, or it was interrupted',
      3: 'the archive is broken; with --strict also what is incomplete or unproven',
    },
  },
  decrypt: {
    example: "node compactor/main.ts decrypt -i archive-identity.txt 'platform/2026/11/**/*.age'",
    settings: storeSettings,
    exits: { 2: 'an object is missing or does not open; the others were written' },
  },
  restore: {
    example: 'node compactor/main.ts restore -i archive-identity.txt --day 2026-11-20 -o events.jsonl',
    settings: [...readerSettings, ...restoreSettings, ...restoreToSettings],
    exits: {
      2: 'a part does not open with these keys, or where they go refused one or was away',
      3: 'a part is damaged or missing, or an event was archived twice; the others are restored',
    },
  },
  export: {
    example: 'node compactor/main.ts export -i archive-identity.txt --month 2026-11 -o november.parquet',
    settings: readerSettings,
    exits: {
      2: 'a part does not open with these keys',
      3: 'a part or its deliveries are damaged or missing; the others are exported',
    },
  },
  hold: {
    example: "node compactor/main.ts hold matter-17 --from 2026-01-01 --to 2026-03-31 --reason 'case 17'",
    settings: [...readerSettings, ...holdSettings, ...stripeSettings],
    exits: { 2: 'the time is not proven, or the store cannot be written: run it again', 3: 'a fault in the ledger' },
  },
  release: {
    example: 'node compactor/main.ts release matter-17',
    settings: [...readerSettings, ...holdSettings, ...stripeSettings],
    exits: { 2: 'the time is not proven, or the store cannot be written: run it again', 3: 'a fault in the ledger' },
  },
  prune: {
    example: 'node compactor/main.ts prune --evidence-days 400',
    settings: [...readerSettings, ...pruneSettings, ...stripeSettings],
    exits: {
      2: 'the time is not proven, or an object could not be deleted: run it again',
      3: 'a fault in the archive: an object is missing that no manifest says is pruned',
    },
  },
  replicate: {
    example: 'node compactor/main.ts replicate --check',
    settings: [...readerSettings, ...replicateSettings],
    exits: {
      2: 'a store failed, or the replica is behind: run it again',
      3: 'a manifest or an object is missing, damaged, or not the one of the archive',
    },
  },
  drill: {
    example: 'node compactor/main.ts drill --identity drill-identity.txt --replica',
    settings: [...readerSettings, ...replicateSettings],
    exits: {
      2: 'the store cannot be read, or the key opens nothing',
      3: 'something does not hold, or did not come back',
    },
  },
  'backup-secrets': {
    example: 'node compactor/main.ts backup-secrets --name ingest-1',
    settings: [...storeSettings, ...backupSettings],
    exits: { 2: 'a store failed: run it again' },
  },
  serve: {
    example: 'node compactor/main.ts serve',
    settings: [...nightSettings, ...serveSettings],
    exits: { 0: 'ended by SIGTERM or SIGINT', 2: 'a port cannot be opened' },
  },
  link: {
    example: 'node compactor/main.ts link --source platform --day 2026-11-20 --expires 12h',
    settings: readerSettings,
    exits: { 2: 'the store cannot be read', 3: 'an object is missing, or a fault in the ledger' },
  },
  'hash-password': {
    example: 'node compactor/main.ts hash-password',
    settings: ['COMPACTOR_CONSOLE_PASSWORD', 'COMPACTOR_CONSOLE_READER_PASSWORD'],
    exits: { 2: 'it could not be made' },
  },
  doctor: {
    example: 'node compactor/main.ts doctor',
    settings: [...nightSettings, ...serveSettings],
    exits: { 0: 'no problem was found; there may be warnings', 2: 'a problem was found, or a check could not be made' },
  },
};
