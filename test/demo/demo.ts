/**
 * `npm run demo`: the main job end to end, to be read. A simulated Stripe and a billing server send four days of events
 * to a real ingest; the night closes three of them; the archive is checked and opened. Every run has a folder of its
 * own under `<data directory>/demo`; nothing else is touched. Exit 0 if the archive holds what it should.
 */
import { createReadStream, mkdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { ArchiveList } from '../../compactor/commands/list.ts';
import { newestClosedDay } from '../../compactor/day/closing.ts';
import type { NightReport } from '../../compactor/night.ts';
import type { ArchiveReport } from '../../compactor/verify/verify-archive.ts';
import { developmentValues, makeDevelopmentFiles } from '../../deploy/scripts/development-values.ts';
import { defaultOf } from '../../shared/config.ts';
import { parseIdentities } from '../../shared/crypto/identities.ts';
import { linesOf, openPlaintext } from '../../shared/crypto/open-sealed.ts';
import { messageOf } from '../../shared/errors.ts';
import { heedReaders } from '../../shared/program/program.ts';
import { listedCopy } from '../stripe/events.ts';
import { startFakeStripe } from '../stripe/fake-stripe.ts';
import { commandsByHand } from './by-hand.ts';
import { deliver } from './deliver.ts';
import {
  describeAnswers,
  describeByHand,
  describeCheck,
  describeEvent,
  describeNight,
  describeObjects,
  describeOutcome,
  manifestName,
  say,
  shown,
  title,
} from './describe.ts';
import { openPrograms } from './programs.ts';
import { writeSources } from './sources-with-key.ts';
import { makeTraffic, type Traffic } from './traffic.ts';

const lagSeconds = 3600;

async function demo(): Promise<void> {
  heedReaders();
  const base = join(process.env.DAYBOOK_DATA_DIR ?? defaultOf('DAYBOOK_DATA_DIR'), 'demo');
  const run = makeRunFolder(base);
  const { environment, warning } = await developmentValues(['COMPACTOR_RECIPIENTS', 'COMPACTOR_SIGNING_KEY'], base);
  process.stderr.write(warning);
  const keys = await makeDevelopmentFiles(base);
  const traffic = makeTraffic(run, newestClosedDay(new Date(), lagSeconds), Date.now());

  const stripe = await startFakeStripe();
  for (const { text } of traffic.account) stripe.add(listedCopy(text));
  const sources = join(run, 'sources.json');
  const secrets = writeSources(keys.sources, sources);
  const programs = openPrograms(run, {
    DAYBOOK_DATA_DIR: '.',
    DAYBOOK_SOURCES: 'sources.json',
    STRIPE_API_BASE: stripe.base.href,
    INGEST_PORT: '0',
    INGEST_ADMIN_PORT: '0',
    COMPACTOR_RECIPIENTS: environment.COMPACTOR_RECIPIENTS!,
    COMPACTOR_SIGNING_KEY_FILE: relative(run, keys.signingKey),
    COMPACTOR_LAG_SECONDS: String(lagSeconds),
  });

  try {
    title('1. Stripe and a billing server deliver to ingest');
    const url = await programs.startIngest();
    describeAnswers(await deliver(traffic, url, secrets), traffic.lost.size);

    title('2. The night closes the days');
    const night = await programs.compactor<NightReport>(['run']);
    const days = night.days.filter(({ counts }) => counts.delivered + counts.recovered > 0);
    describeNight(days, night);
    checkDays(days, traffic);
    const { manifest: second } = await programs.compactor<NightReport>(['run']);
    say(
      second === null
        ? 'A second run finds nothing new and writes nothing.'
        : `A second run writes manifest ${second}: meanwhile one more day was closed.`,
    );

    title('3. Where the newest day of the platform lies');
    const list = await programs.compactor<ArchiveList>(['list']);
    const archived = list.days.filter(({ events }) => events > 0);
    const newest = archived.filter(({ source }) => source === 'platform').at(-1)!;
    const archive = join(run, 'archive');
    describeObjects(archive, newest, night.manifest!);
    say(`Events of days that are not closed yet wait in the stream; the oldest are of ${list.oldestUnarchivedDay}.`);

    title('4. The archive proves itself');
    const identity = relative(run, keys.identity);
    describeCheck(
      await programs.compactor<ArchiveReport>(['verify', '--identity', identity, '--secrets', 'sources.json']),
    );

    title('5. An event whose webhook never came, opened with the key that neither program was given');
    const parts = archived.flatMap(({ source, parts }) => (source === 'platform' ? parts : []));
    const recovered = await linesOfLost(
      parts.map(({ key }) => join(archive, key)),
      keys.identity,
      traffic,
    );
    describeEvent(recovered.at(-1)!);

    title('6. The same by hand');
    const part = join(archive, newest.parts[0]!.key);
    const manifest = join(archive, manifestName(night.manifest!));
    describeByHand(commandsByHand({ run, ...keys, sources, part, manifest }, newest.source, newest.day));
    say(`Logs: ${shown(join(run, 'ingest.log'))} and compactor.log beside it.`);
    say(`Remove ${shown(base)} when you have seen enough.`);
    describeOutcome(traffic.lost.size, recovered.length);
  } finally {
    await programs.stopIngest();
    await stripe.close();
  }
}

function makeRunFolder(base: string): string {
  mkdirSync(base, { recursive: true, mode: 0o700 });
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  for (let count = 1; ; count++) {
    const path = join(base, count === 1 ? stamp : `${stamp}-${count}`);
    try {
      mkdirSync(path, { mode: 0o700 });
      return path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** Throws if the archive's days are not what was sent. */
function checkDays(days: NightReport['days'], { expected }: Traffic): void {
  const found = new Map(days.map(({ source, day, counts }) => [`${source} ${day}`, counts]));
  for (const [day, { delivered, recovered, duplicates }] of expected) {
    const counts = found.get(day);
    if (counts?.delivered !== delivered || counts.recovered !== recovered || counts.duplicates !== duplicates) {
      throw new Error(`${day}: ${JSON.stringify(counts)} is not what was sent`);
    }
  }
  say('These are the numbers that were sent.');
}

/** The archived lines of the events whose webhook never came. */
async function linesOfLost(parts: readonly string[], identityFile: string, { lost }: Traffic): Promise<string[]> {
  const identities = parseIdentities(readFileSync(identityFile, 'utf8'));
  const lines: string[] = [];
  for (const part of parts) {
    for await (const line of linesOf(openPlaintext(createReadStream(part), identities))) lines.push(String(line));
  }
  return lines.filter((line) => lost.has(JSON.parse(line).id));
}

try {
  await demo();
} catch (error) {
  process.stderr.write(`demo: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
