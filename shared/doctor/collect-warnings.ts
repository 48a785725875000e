/** A log that is read instead of written: drivers warn of what weakens them as they open, and doctor repeats it. */
import { pino } from 'pino';
import type { Logger } from '../program/log.ts';
import { type Found, warning } from './finding.ts';

/** Of what a driver warns of. */
export const mendStream =
  "Change the stream's settings so that this holds no more; shared/README.md, Configuration, has what daybook needs.";

export interface WarningCollector {
  readonly log: Logger;
  /** The warnings so far, each with the facts beside it. */
  found(hint: string): Found[];
}

const notFacts: ReadonlySet<string> = new Set(['level', 'time', 'pid', 'hostname', 'msg', 'topic', 'stream']);

export function openWarningCollector(): WarningCollector {
  const lines: Record<string, unknown>[] = [];
  const write = (text: string) => {
    const line = JSON.parse(text);
    // What kafkajs says itself is about single tries; what comes of them the driver says.
    if (line.kafkajs === undefined) lines.push(line);
  };
  return {
    log: pino({ level: 'warn', base: {} }, { write }),
    found: (hint) => lines.map((line) => warning(textOf(line), hint)),
  };
}

function textOf(line: Readonly<Record<string, unknown>>): string {
  const facts = Object.entries(line).filter(([name]) => !notFacts.has(name));
  const said = facts.map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`);
  return said.length === 0 ? String(line.msg) : `${line.msg} (${said.join(', ')})`;
}
