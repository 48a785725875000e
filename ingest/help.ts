/** What the help of each command adds to its options. */
import type { CommandHelp } from '../shared/program/help.ts';
import { keysSettings, redactSettings, rotateSettings, serveSettings, spoolSettings } from './settings.ts';

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
  redact: {
    example: 'node ingest/main.ts redact --once',
    settings: redactSettings,
    exits: {
      0: 'ended by SIGTERM or SIGINT, or with --once at the end of the stream',
      2: 'a stream refuses for good, or with --once a step failed: what is left comes with the next run',
    },
  },
  spool: { example: 'node ingest/main.ts spool inspect', exits: ofSpool.exits },
  'spool inspect': { example: 'node ingest/main.ts spool inspect --json', ...ofSpool },
  'spool export': { example: 'node ingest/main.ts spool export > dead-letters.jsonl', ...ofSpool },
  'spool requeue': { example: 'node ingest/main.ts spool requeue --sequence 17 18', ...ofSpool },
  keys: {
    example: 'node ingest/main.ts keys list',
    exits: { 2: 'something failed, and no key is lost: run it again' },
  },
  'keys list': {
    example: 'node ingest/main.ts keys list --ingest http://10.0.0.5:9464 http://10.0.0.6:9464',
    settings: keysSettings,
    exits: { 2: 'stdout cannot be written' },
  },
  'keys rotate': {
    example: 'node ingest/main.ts keys rotate --source billing',
    settings: rotateSettings,
    exits: { 2: 'the sources file cannot be replaced, or somebody else changed it meanwhile' },
  },
  doctor: {
    example: 'node ingest/main.ts doctor --request captured.txt',
    settings: serveSettings,
    exits: { 0: 'no problem was found; there may be warnings', 2: 'a problem was found, or a check could not be made' },
  },
};
