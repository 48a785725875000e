/**
 * What doctor says: one finding for each thing that was looked at. A check that fails is a finding too, and stops no
 * other. Nothing in a finding is a secret, an expected signature or the content of a body; a secret is named by its
 * place in the configuration and its keyid.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { DaybookError, type ErrorCode } from '../errors.ts';
import { reasonsOf } from '../http/problem.ts';
import { print } from '../program/standard-output.ts';
import { visibleText } from '../program/visible-text.ts';

export type Status = 'ok' | 'warning' | 'problem';

/** What a check found. */
export interface Found {
  readonly status: Status;
  /** Of shared/errors.ts, where the program would refuse or fail with it. */
  readonly code?: ErrorCode;
  readonly message: string;
  /** What to do; empty where there is nothing to do. */
  readonly hint: string;
}

/** `doctor --json`: {"findings":[{"check","status","code"?,"message","hint"}]}. */
export interface Finding extends Found {
  readonly check: string;
}

export interface Check {
  /** A word or two: `stream`, `stripe platform`. */
  readonly name: string;
  /** After which it is given up. Default: 60 s. */
  readonly limitMs?: number;
  run(): readonly Found[] | Promise<readonly Found[]>;
}

export function ok(message: string): Found {
  return { status: 'ok', message, hint: '' };
}

export function warning(message: string, hint: string, code?: ErrorCode): Found {
  return { status: 'warning', ...(code === undefined ? {} : { code }), message, hint };
}

export function problem(message: string, hint: string, code?: ErrorCode): Found {
  return { ...warning(message, hint, code), status: 'problem' };
}

/** A check that could not be made, or what the program itself would fail with. */
export function problemOf(thrown: unknown): Found {
  if (thrown instanceof DaybookError) return problem(thrown.message, thrown.hint, thrown.code);
  const hint = 'The check could not be made: a fault in daybook, or of this machine.';
  return problem(reasonsOf(thrown)[0] ?? 'a failure without a message', hint, 'internal_error');
}

const defaultLimitMs = 60_000;

/** Makes the checks one after the other, in their order. One that is given up goes on unheard until `report`. */
export async function findAll(checks: readonly Check[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, limitMs = defaultLimitMs, run } of checks) {
    const late = new AbortController();
    const found = await Promise.race([
      attempt(run),
      sleep(limitMs, [tooLate(limitMs)], { signal: late.signal }).catch(() => []),
    ]);
    late.abort();
    findings.push(...found.map((one) => ({ check: name, ...one })));
  }
  return findings;
}

async function attempt(run: Check['run']): Promise<readonly Found[]> {
  try {
    return await run();
  } catch (error) {
    return [problemOf(error)];
  }
}

function tooLate(limitMs: number): Found {
  const hint = 'What it looks at hangs, or is very slow: try again, and see its other findings.';
  return problem(`the check was given up after ${limitMs / 1000} s`, hint);
}

/** The findings of a configuration that is refused: one for each problem that it names. Throws anything else again. */
export function findingsOfConfiguration(thrown: unknown): Finding[] {
  if (!(thrown instanceof DaybookError) || thrown.code !== 'configuration_invalid') throw thrown;
  const { code, hint, message } = thrown;
  return message.split('\n').map((line) => ({ check: 'configuration', ...problem(line, hint, code) }));
}

/**
 * Prints the findings on stdout and sets the exit code: 1 a wrong configuration, 2 another problem, else 0. The process
 * ends soon after, also where a check that was given up would hold it.
 */
export async function report(findings: readonly Finding[], isJson: boolean): Promise<void> {
  process.exitCode = exitCodeOf(findings);
  const text = isJson ? `${JSON.stringify({ findings })}\n` : describe(findings);
  try {
    await print(text);
  } finally {
    setTimeout(() => process.exit(), 500).unref();
  }
}

export function exitCodeOf(findings: readonly Finding[]): 0 | 1 | 2 {
  if (findings.some(({ code }) => code === 'configuration_invalid')) return 1;
  return findings.some(({ status }) => status === 'problem') ? 2 : 0;
}

/** To be read: a group of lines for each finding, what to do below what was found. */
export function describe(findings: readonly Finding[]): string {
  const width = Math.max(0, ...findings.map(({ check }) => check.length));
  const groups = findings.map(({ status, check, code, message, hint }) => {
    const said = code === undefined ? message : `${message} (${code})`;
    const todo = hint === '' ? '' : `${' '.repeat(width + 11)}→ ${visibleText(hint)}\n`;
    return `${status.padEnd(7)}  ${check.padEnd(width)}  ${visibleText(said)}\n${todo}`;
  });
  const count = (wanted: Status) => findings.filter(({ status }) => status === wanted).length;
  const [problems, warnings] = [count('problem'), count('warning')];
  return `${groups.join('')}\n${counted(problems, 'problem')}, ${counted(warnings, 'warning')}.\n`;
}

export function counted(count: number, what: string): string {
  return `${count === 0 ? 'no' : count} ${what}${count === 1 ? '' : 's'}`;
}
