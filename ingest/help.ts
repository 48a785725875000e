/** What the help of each command adds to its options. */
import type { CommandHelp } from '../shared/program/help.ts';
import { serveSettings, spoolSettings } from './settings.ts';

const ofSpool = {
  settings: spoolSettings,
  exits: { 2: 'the spool cannot be opened or read' },
} as const;

export const help: Readonly<Record<string, CommandHelp>> = {
  'daybook-ingest': {
    example: 'node ingest/main.ts serve',
    exits: { 2: 'something failed, and nothing is lost: run it again' },
  },
  serve: {
    example: 'node ingest/main.ts serve',
    settings: serveSettings,
    exits: {
      0: 'ended by SIGTERM or SIGINT',
      2: 'a port or the spool cannot be opened, or the stream refuses for good',
    },
  },
  spool: { example: 'node ingest/main.ts spool inspect', exits: ofSpool.exits },
  'spool inspect': { example: 'node ingest/main.ts spool inspect --json', ...ofSpool },
  'spool export': { example: 'node ingest/main.ts spool export > dead-letters.jsonl', ...ofSpool },
  'spool requeue': { example: 'node ingest/main.ts spool requeue --sequence 17 18', ...ofSpool },
  doctor: {
    example: 'node ingest/main.ts doctor --request captured.txt',
    settings: serveSettings,
    exits: { 0: 'no problem was found; there may be warnings', 2: 'a problem was found, or a check could not be made' },
  },
};
