/** `daybook-compactor report`: the books of a month, for finance to file and the auditor to compute again. Reads only. */
import { systemClock } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { print } from '../../shared/program/standard-output.ts';
import { tableOf } from '../../shared/program/table.ts';
import { visibleLines } from '../../shared/program/visible-text.ts';
import { isSourceName } from '../../shared/schemes/source-members.ts';
import { openStore } from '../../shared/store/open.ts';
import { readArchiveConfiguration } from '../configuration.ts';
import { daysOver, isMonth, recoveredAlone } from '../console/day-words.ts';
import { openLedgerView } from '../console/ledger-view.ts';
import { reportOf } from '../console/report.ts';
import type { Report, ReportDay, ReportOfSource } from '../console/report-shapes.ts';
import { refuseUnknownSources } from './refuse-unknown-sources.ts';

export interface ReportOptions {
  readonly month: string;
  readonly source?: string;
  readonly asOf?: string;
  readonly json?: boolean;
}

const maxMissingShown = 100;

/** Prints the report. Rejects with `usage`, and as `run` does where the ledger is broken: then nothing is reported. */
export async function reportCommand({ month, source, asOf, json }: ReportOptions): Promise<void> {
  if (!isMonth(month))
    throw new DaybookError('usage', { detail: `--month takes a month, such as 2026-11, not ${month}` });
  if (source !== undefined && !isSourceName(source)) {
    throw new DaybookError('usage', { detail: `--source takes the name of a source, not ${source}` });
  }
  if (asOf !== undefined && !/^[1-9]\d{0,7}$/.test(asOf)) {
    throw new DaybookError('usage', { detail: `--as-of takes the number of a manifest, not ${asOf}` });
  }
  const until = asOf === undefined ? undefined : Number(asOf);
  const { settings, verifyingKeys } = readArchiveConfiguration();
  const place = await openStore(settings.DAYBOOK_STORE, settings.DAYBOOK_DATA_DIR);
  const view = openLedgerView({ openStore: async () => place, verifyingKeys, clock: systemClock, until });
  try {
    const { head } = await view.readAgain();
    if (until !== undefined && head?.number !== until) {
      throw new DaybookError('usage', {
        detail: `the archive has no manifest ${until}: its newest is ${head?.number ?? 'none'}`,
      });
    }
    const known = await view.look();
    if (source !== undefined) refuseUnknownSources([source], known.ledger);
    const report = reportOf(known, month, source);
    await print(json === true ? `${JSON.stringify(report)}\n` : visibleLines(describeReport(report)));
  } finally {
    await place.store.close();
  }
}

/** For A4 and terminals: lines of 100 columns at most, but for keys, hashes and commands. */
function describeReport(report: Report): string {
  const { month, sources, archive, manifests, holes, checks, words } = report;
  const { head } = archive;
  const of = sources.length === 1 ? `, ${sources[0]!.source}` : '';
  const place = `${archive.location}${archive.prefix === '' ? '' : `, below ${archive.prefix}`}`;
  return [
    `Books of ${month}${of}\n`,
    `Archive   ${place}\n`,
    head === null
      ? 'As of     an archive without a manifest\n'
      : `As of     manifest ${head.number} of ${head.createdAt}\n          ${head.sha256}\n`,
    '\n',
    ...words.map((sentence) => `${sentence}\n`),
    sources.length === 0 ? '' : `\n${describeTotals(report)}`,
    ...sources.map(describeSource),
    ...describeMissing(sources),
    ...(holes.length === 0 ? [] : ['\nHoles of the stream\n', ...holes.map((hole) => `- ${hole.words}\n`)]),
    manifests.length === 0
      ? ''
      : `\nManifests with a word on this month\n${tableOf(
          ['number', 'made', 'signed by'],
          manifests.map(({ number, createdAt, signer }) => [number, createdAt, signer]),
        )}`,
    checks.length === 0
      ? ''
      : '\nTo check it\nIn a folder that holds the objects under their keys: a copy of the bucket, or the archive itself.\nBeside it: verifying-key.pem, the public key of who signs, and identity.txt, the private key of a recipient.\nThe same report, made again: node compactor/main.ts report' +
        ` --month ${month}${report.only === null ? '' : ` --source ${report.only}`} --as-of ${head?.number}\n`,
    ...checks.map(
      ({ title, command, expected }, index) =>
        `\n# ${index + 1}. ${title}\n${command}\n${expected === '' ? '# expected: nothing' : `# expected: ${expected.replaceAll('\n', '\n#           ')}`}\n`,
    ),
  ].join('');
}

function describeTotals({ sources, totals }: Report): string {
  const rows = [
    ...sources.map(({ source, totals: own }) => ({ name: source, own })),
    { name: 'together', own: totals },
  ];
  return tableOf(
    ['source', 'days over', 'complete', 'events', 'received', 'recovered', 'missing', 'not listed', 'differing'],
    (sources.length === 1 ? rows.slice(0, 1) : rows).map(({ name, own }) => [
      ...[name, daysOver(own), own.byStanding.complete, own.events, own.delivered, own.recovered, own.missing],
      ...[own.notListed, own.differing],
    ]),
  );
}

function describeSource({ source, days }: ReportOfSource): string {
  const rows = runsOf(days).map(([first, last]) => [
    first === last ? first.day : `${first.day}…${last.day.slice(8)}`,
    ...[first.standing, first.events, first.counts?.delivered ?? null, first.counts && recoveredAlone(first.counts)],
    first.counts === null ? null : first.missing.length + first.generationFailures,
    ...[first.counts?.listed ?? null, first.listedAt?.slice(0, 10) ?? null, first.manifest],
  ]);
  const head = ['day', 'verdict', 'events', 'received', 'recovered', 'missing', 'listed', 'asked on', 'manifest'];
  return `\n${source}\n${tableOf(head, rows)}`;
}

/** Days without an entry that follow each other and stand alike share a line. */
function runsOf(days: readonly ReportDay[]): [ReportDay, ReportDay][] {
  const runs: [ReportDay, ReportDay][] = [];
  for (const day of days) {
    const run = runs.at(-1);
    if (run !== undefined && day.counts === null && run[1].counts === null && run[1].standing === day.standing)
      run[1] = day;
    else runs.push([day, day]);
  }
  return runs;
}

function describeMissing(sources: readonly ReportOfSource[]): string[] {
  const missing = sources.flatMap(({ source, days }) =>
    days.flatMap((day) => day.missing.map((id) => `- ${source} ${day.day} ${id}\n`)),
  );
  if (missing.length === 0) return [];
  const more = missing.length - maxMissingShown;
  return [
    '\nMissing: known to Stripe, and not to be had\n',
    ...missing.slice(0, maxMissingShown),
    more > 0 ? `- and ${more} more (see --json)\n` : '',
  ];
}
