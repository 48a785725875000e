/** The secrets of the sources: are they what they should be, is any listed twice, and when does an overlap end? */
import { dayMs } from '../../shared/clock.ts';
import { type Found, ok, problem, warning } from '../../shared/doctor/finding.ts';
import { schemeOf } from '../../shared/schemes/schemes.ts';
import { unquoted } from '../../shared/schemes/secret-kind.ts';
import { isActive, type Secret } from '../../shared/schemes/secrets.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';
import { secretName } from './signing-keys.ts';

const warnedBeforeMs = 7 * dayMs;

export function checkSecrets(sources: readonly ResolvedSource[], nowMs: number): Found[] {
  const found = sources.flatMap((source) => {
    const wrong = source.secrets.flatMap((secret, index) => [
      ...checkKind(source, secret, index),
      ...checkEnd(source, secret, index, nowMs),
    ]);
    return [...wrong, ...checkLeft(source, nowMs)];
  });
  const repeated = checkRepeated(sources);
  const count = sources.reduce((sum, { secrets }) => sum + secrets.length, 0);
  const said = `${sources.length === 1 ? '1 source' : `${sources.length} sources`}, ${count === 1 ? '1 secret' : `${count} secrets`}`;
  const all = [...found, ...repeated];
  return all.length === 0 ? [ok(`${said}: nothing is wrong with them by their looks`)] : all;
}

function checkKind({ source }: ResolvedSource, { text, keyid }: Secret, index: number): Found[] {
  const name = secretName(source.name, index, keyid);
  const found: Found[] = [];
  if (text !== unquoted(text)) {
    const hint = 'Take them away: they count as part of the secret, and no signature will ever hold.';
    found.push(problem(`${name} has white space or quotes around it`, hint));
  }
  for (const { status, said, hint } of schemeOf(source.scheme).checkSecret(text)) {
    found.push({ ...warning(`${name} ${said}`, hint), status });
  }
  return found;
}

function checkEnd({ source }: ResolvedSource, { keyid, notAfterMs }: Secret, index: number, nowMs: number): Found[] {
  if (notAfterMs === undefined) return [];
  const name = secretName(source.name, index, keyid);
  const when = new Date(notAfterMs).toISOString();
  const leftMs = notAfterMs - nowMs;
  if (leftMs < 0) return [warning(`${name} has ended: its notAfter was ${when}`, 'Take it out of DAYBOOK_SOURCES.')];
  if (leftMs > warnedBeforeMs) return [ok(`${name} ends at ${when}`)];
  const hours = Math.floor(leftMs / 3_600_000);
  const left = hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
  const hint =
    'See that all senders use the new one by then (metrics and logs show the keyid in use), or move notAfter.';
  return [warning(`${name} ends in ${left}, at ${when}`, hint)];
}

/** What verifies now, and what will once those that end have ended. */
function checkLeft({ source, secrets }: ResolvedSource, nowMs: number): Found[] {
  const active = secrets.filter((secret) => isActive(secret, nowMs));
  if (active.length === 0) {
    return [problem(`${source.name} has no secret that has not ended: it takes nothing`, 'Add one that is in use.')];
  }
  if (active.some(({ notAfterMs }) => notAfterMs === undefined)) return [];
  const lastMs = Math.max(...active.map(({ notAfterMs }) => notAfterMs!));
  const said = `${source.name} takes nothing after ${new Date(lastMs).toISOString()}: all its secrets have a notAfter`;
  return [warning(said, 'Add the secret that is to follow.')];
}

function checkRepeated(sources: readonly ResolvedSource[]): Found[] {
  const holders = new Map<string, string[]>();
  for (const { source, secrets } of sources) {
    for (const { keyid } of secrets) holders.set(keyid, [...(holders.get(keyid) ?? []), source.name]);
  }
  return [...holders].flatMap(([keyid, names]) => {
    if (names.length === 1) return [];
    const distinct = [...new Set(names)];
    if (distinct.length === 1) return [warning(`${names[0]} lists the secret ${keyid} twice`, 'Take one away.')];
    const said = `${distinct.join(' and ')} share the secret ${keyid}: each takes the other's events as its own`;
    return [warning(said, 'Each endpoint of Stripe has a secret of its own, and each caller should have one.')];
  });
}
