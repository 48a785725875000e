/** What the demo prints: for reading, not a log. */
import { statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { styleText } from 'node:util';
import type { ListedDay } from '../../compactor/commands/list.ts';
import type { NightReport } from '../../compactor/night.ts';
import type { ArchiveReport } from '../../compactor/verify/verify-archive.ts';
import { tableOf } from '../../shared/program/table.ts';
import type { ByHand } from './by-hand.ts';

const width = process.stdout.columns ?? 100;

export function title(text: string): void {
  say(`\n${styleText('bold', text)}\n${'─'.repeat(Math.min(text.length, width))}`);
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function shown(path: string): string {
  return relative(process.cwd(), path) || '.';
}

export function manifestName(number: number): string {
  return `manifests/${String(number).padStart(8, '0')}.jsonl`;
}

export function describeAnswers(answers: readonly (readonly [string, number, string])[], lost: number): void {
  const rows = [...answers, ['Stripe event whose webhook never comes', lost, '–'] as const];
  say(tableOf(['what was sent', 'requests', 'answer'], rows).trimEnd());
}

export function describeNight(days: NightReport['days'], { days: all, manifest }: NightReport): void {
  const rows = days.map(({ day, source, counts, verdict }) => [
    ...[day, source, counts.delivered, counts.duplicates, counts.recovered, counts.listed, verdict],
  ]);
  const head = ['day', 'source', 'delivered', 'duplicates', 'recovered', "in Stripe's list", 'verdict'];
  say(tableOf(head, rows));
  say(`recovered     the webhook never came; the event was taken from Stripe's list
complete      listed on the third day after it or later, and all that was listed is archived
provisional   not old enough for that: Stripe may still retry
unreconciled  there is no list to ask
Signed manifest ${manifest} says all this. The first night also looked at ${all.length - days.length} days without events.`);
}

/** Where the objects of a day lie, and the manifest. */
export function describeObjects(archive: string, { parts }: ListedDay, manifest: number): void {
  const objects = parts.flatMap((part) => [
    [part.key, 'events: one canonical JSON line each'],
    ...(part.deliveries === null ? [] : [[part.deliveries.key, 'evidence: raw body and signature of each delivery']]),
    [part.ids.key, 'ids, for dedupe without a private key'],
  ]);
  say(`${shown(archive)}/`);
  for (const [key, what] of [...objects, [manifestName(manifest), 'the ledger: one signed manifest a night']]) {
    say(`  ${key}\n      ${what}, ${statSync(join(archive, key!)).size.toLocaleString('en')} bytes`);
  }
}

export function describeCheck({ ok, manifests, objects, days, breaks, deliveries }: ArchiveReport): void {
  const events = days.reduce((total, day) => total + day.events, 0);
  if (!ok) throw new Error(`verify found ${breaks.length} breaks: ${breaks[0]!.message}`);
  say(`OK: ${count(manifests, 'manifest')}, ${count(objects, 'object')}, ${count(events, 'event')}. \
Chain, signatures, hashes, lines, ids and counts hold.
${count(deliveries.checked, 'delivery', 'deliveries')} with a signature that still verifies against the sender's secret.`);
}

/** The archived line, spread out, with the object that it is about cut short. */
export function describeEvent(line: string): void {
  const { data, ...event } = JSON.parse(line);
  const { id, object, ...others } = data.object;
  const short = { ...event, data: { object: { id, object, '…': `${Object.keys(others).length} more` } } };
  say(JSON.stringify(short, null, 2));
}

/** Throws where an event is not there. */
export function describeOutcome(lost: number, archived: number): void {
  if (archived !== lost) throw new Error(`${archived} of ${lost} events whose webhook never came are in the archive`);
  say(`\n${styleText(['bold', 'green'], `${lost} webhooks never came; all ${archived} events are in the archive.`)}`);
}

export function describeByHand(commands: readonly ByHand[]): void {
  for (const { what, lines } of commands) say(`# ${what}\n${lines.join('\n')}\n`);
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
