/**
 * The report of a month: what was received, recovered and missing, whether the days are complete, and how to check all of it with
 * stock tools. It is made of the manifests up to `head` alone, so that an auditor who has these gets the same.
 */
import { addDays, type Day, dayOf } from '../../shared/clock.ts';
import { counted } from '../../shared/program/counted.ts';
import { shellWord } from '../../shared/program/shell-word.ts';
import { firstOf, pendingLists, uncoveredOf } from '../day/coverage.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { manifestKey } from '../ledger/manifest.ts';
import {
  daysOfMonth,
  daysOver,
  eventsOf,
  holeInWords,
  isListedSource,
  standingWithout,
  sumOf,
  totalsOf,
} from './day-words.ts';
import type { KnownArchive } from './ledger-view.ts';
import type { Report, ReportCheck, ReportOfSource } from './report-shapes.ts';
import { apiFormat, type DayTotals, type ManifestLine } from './shapes.ts';

export function reportOf(known: KnownArchive, month: string, only: string | undefined): Report {
  const { ledger, state, histories } = known;
  const names = [...new Set([...ledger.sources.keys(), ...Object.keys(ledger.firstDays)])].sort();
  const headDay = ledger.head === undefined ? undefined : dayOf(new Date(ledger.head.createdAt));
  const isOver = headDay !== undefined && headDay.slice(0, 7) > month;
  const sources = names
    .filter((name) => only === undefined || name === only)
    .map((name) => sourceOf(known, name, month, headDay ?? `${month}-01`, isOver))
    .filter(({ days }) => days.length > 0);
  const numbers = new Set<number>();
  for (const { source } of sources) {
    for (const [day, lines] of histories.get(source) ?? []) {
      if (day.startsWith(month)) for (const { manifest } of lines) numbers.add(manifest);
    }
  }
  const manifests = [...numbers].sort((a, b) => a - b).map((number) => known.manifests[number - 1]!);
  const totals = sumOf(sources.map((source) => source.totals));
  const isComplete = sources.length > 0 && sources.every((source) => source.isComplete);
  return {
    format: apiFormat,
    archive: state,
    month,
    only: only ?? null,
    sources,
    totals,
    isComplete,
    words: wordsOf(month, sources, totals, { isOver, isComplete, holes: ledger.holes.length }),
    manifests: manifests.map(({ number, sha256, createdAt, signer }) => ({ number, sha256, createdAt, signer })),
    holes: ledger.holes.map(holeInWords),
    checks: checksOf({ month, only, sources, totals, manifests, ledger, prefix: state.prefix }),
  };
}

function sourceOf(
  { ledger, configured }: KnownArchive,
  source: string,
  month: string,
  headDay: Day,
  isOver: boolean,
): ReportOfSource {
  const states = ledger.sources.get(source);
  const firstDay = ledger.firstDays[source] ?? null;
  // A night that comes early in the day, or has a long lag, has not closed yesterday yet.
  const newestClosed = addDays(headDay, -2);
  const isExpected = configured?.has(source) ?? true;
  const days = daysOfMonth(month)
    .map((day) => {
      const state = states?.get(day);
      const isWaitedFor = isExpected && (firstDay === null || day >= firstDay);
      return { day, state, standing: state?.verdict ?? standingWithout(day, firstDay, newestClosed, isWaitedFor) };
    })
    .filter(({ standing }) => standing !== 'none');
  const totals = totalsOf(days);
  return {
    source,
    isListed: isListedSource(ledger, source),
    pending: pendingLists(ledger.lists[source] ?? {}),
    firstDay,
    days: days.map(({ day, state, standing }) => ({
      ...{ day, standing, counts: state?.counts ?? null, events: state === undefined ? null : eventsOf(state) },
      listedAt: state?.listedAt ?? null,
      missing: state?.missing ?? [],
      generationFailures: state?.generationFailures.length ?? 0,
      uncovered: state === undefined ? [] : uncoveredOf(ledger, source, state),
      manifest: state?.manifest.number ?? null,
      parts: state?.parts.length ?? 0,
    })),
    totals,
    isComplete: isOver && totals.days > 0 && totals.byStanding.complete === totals.days,
  };
}

function wordsOf(
  month: string,
  sources: readonly ReportOfSource[],
  totals: DayTotals,
  { isOver, isComplete, holes }: { readonly isOver: boolean; readonly isComplete: boolean; readonly holes: number },
): string[] {
  if (sources.length === 0) return [`The archive has no entry of ${month}.`];
  const { byStanding, events, delivered, recovered, twins, missing } = totals;
  const words = [
    `${counted(events, 'event')}: ${delivered.toLocaleString('en')} received and ${recovered.toLocaleString('en')} recovered${twins === 0 ? '' : `, ${twins.toLocaleString('en')} twins of what was received`}; ${missing.toLocaleString('en')} missing.`,
  ];
  if (totals.lostAfter2xx > 0)
    words.push(
      `Of ${counted(totals.lostAfter2xx, 'event')} that ${totals.lostAfter2xx === 1 ? 'was' : 'were'} recovered Stripe says that it was answered 2xx: no delivery is here.`,
    );
  if (!isOver) words.push(`${month} was not over when the newest manifest was made: this is what was known then.`);
  const over = daysOver(totals);
  if (isComplete) words.push(`Each of its ${counted(over, 'day')} is complete.`);
  else
    words.push(
      `${byStanding.complete} of ${counted(over, 'day')} that ${over === 1 ? 'is' : 'are'} over ${byStanding.complete === 1 ? 'is' : 'are'} complete.`,
    );
  const unlisted = sources.filter(({ isListed }) => !isListed).map(({ source }) => source);
  if (unlisted.length > 0) {
    words.push(
      `Nobody can say of ${unlisted.join(', ')} what was not delivered: there is no list to compare with, and no day is complete.`,
    );
  }
  for (const { source, days, pending, totals: own } of sources) {
    const uncovered = days.filter((day) => day.uncovered.length > 0);
    const names = [...new Set(uncovered.flatMap((day) => day.uncovered))];
    if (uncovered.length > 0) {
      words.push(
        `Of ${source} ${counted(uncovered.length, 'day')} ${uncovered.length === 1 ? 'has' : 'have'} events that no list was asked for: of ${firstOf(names)}.`,
      );
    }
    if (pending.length > 0 && own.byStanding.complete > 0) {
      words.push(
        `Of ${source} ${firstOf(pending)} ${pending.length === 1 ? 'was' : 'were'} not asked for all days yet: complete days may be so without ${pending.length === 1 ? 'it' : 'them'}.`,
      );
    }
  }
  if (holes > 0) words.push(`The stream had ${counted(holes, 'hole')}, which ${holes === 1 ? 'is' : 'are'} of no day.`);
  return words;
}

interface Checked {
  readonly month: string;
  readonly only: string | undefined;
  readonly sources: readonly ReportOfSource[];
  readonly totals: DayTotals;
  readonly manifests: readonly ManifestLine[];
  readonly ledger: Ledger;
  readonly prefix: string;
}

/** Each is run by test/compactor/commands/report.test.ts. */
function checksOf({ month, only, sources, totals, manifests, ledger, prefix }: Checked): ReportCheck[] {
  const { head } = ledger;
  if (head === undefined || sources.length === 0) return [];
  const folder = shellWord(`${prefix}manifests`);
  const headFile = shellWord(manifestKey(prefix, head.number));
  // Rows {source, day, number, entry} of the month, in the order of the manifests.
  const ofSource = only === undefined ? '' : `select(.key == "${only}") | `;
  const entriesIn = (manifests: string) => `[${manifests} | select(.number <= ${head.number}) | .number as $number
  | .sources | to_entries[] | ${ofSource}.key as $source | .value | to_entries[] | select(.key | startswith("${month}"))
  | {source: $source, day: .key, number: $number, entry: .value}]`;
  const entries = entriesIn('inputs | select(.format)');
  // The same, and the keys of what was deleted since.
  const present = `[inputs | select(.format)] as $all | INDEX($all[] | .pruned[]?.key; .) as $gone
  | ${entriesIn('$all[]')}`;
  const jq = (filter: string) => `jq -rn '${filter}' ${folder}/*.jsonl`;
  const newest = 'group_by(.source, .day) | map(max_by(.number).entry)';
  const sum = (value: string) => `(map(${value}) | add)`;
  const { byStanding } = totals;
  const archived = totals.days - byStanding.open - byStanding.late;
  const checks: ReportCheck[] = [
    {
      title: 'The manifests are those of this report.',
      command: `sha256sum -c --quiet <<'END' && echo unchanged\n${manifests.map(({ sha256, key }) => `${sha256}  ${key}\n`).join('')}END`,
      expected: 'unchanged',
    },
    {
      title: `All manifests up to ${head.number} follow each other, and the last has this hash.`,
      command: `previous=null; for number in $(seq -f %08.0f 1 ${head.number}); do
  manifest=${folder}/$number.jsonl
  test "$(head -n1 "$manifest" | jq -r .previous.sha256)" = "$previous" || echo "$manifest does not follow"
  previous=$(sha256sum <"$manifest" | cut -c1-64)
done; echo "$previous"`,
      expected: head.sha256,
    },
    {
      title: `The last is signed by the key ${ledger.signer}, whose public half is ../verifying-key.pem.`,
      command: `head -n1 ${headFile} | tr -d '\\n' >../body; tail -n1 ${headFile} | jq -r .signature | base64 -d >../signature
${head.signed === undefined ? '' : 'openssl dgst -sha256 -binary ../body >../hash; mv ../hash ../body\n'}openssl pkeyutl -verify -pubin -inkey ../verifying-key.pem -rawin -in ../body -sigfile ../signature
openssl pkey -pubin -in ../verifying-key.pem -outform DER | sha256sum | cut -c1-16`,
      expected: `Signature Verified Successfully\n${ledger.signer}`,
    },
    {
      title: 'The counts, added up from the manifests again.',
      command: jq(`${entries} | ${newest} |
  "days \\(length) received \\(${sum('.counts.delivered')}) recovered \\(${sum('.counts.recovered - (.counts.twins // 0)')}) missing \\(${sum('(.missing + (.generationFailures // [])) | length')}) complete \\(map(select(.verdict == "complete")) | length)"`),
      expected: `days ${archived} received ${totals.delivered} recovered ${totals.recovered} missing ${totals.missing} complete ${byStanding.complete}`,
    },
  ];
  if (totals.events === 0) return checks;
  return [
    ...checks,
    {
      title: 'As many events are archived: counted from their ids.',
      command: `${jq(`${entries} | .[].entry.parts[].ids.key`)} | tr '\\n' '\\0' | xargs -0 gunzip -c -- | wc -l`,
      expected: String(totals.events),
    },
    {
      title:
        'Each object of the month is there, and is the one that its manifest names. (What was pruned is left out.)',
      command: `${jq(`${present} | .. | objects | select(has("key") and has("sha256") and ($gone[.key] | not))
  | "\\(.sha256.ciphertext? // .sha256)  \\(.key)"`)} | sha256sum -c --quiet && echo 'all there'`,
      expected: 'all there',
    },
    {
      title: 'With the private key: each part opens, and is what the manifest says. Prints nothing but what differs.',
      command: `${jq(`${present} | .[].entry.parts[] | select($gone[.key] | not)
  | "\\(.sha256.plaintext) \\(.key)"`)} | while read -r hash key; do
  age -d -i ../identity.txt "$key" | gunzip | sha256sum | grep -q "^$hash" || echo "$key differs"
done`,
      expected: '',
    },
  ];
}
