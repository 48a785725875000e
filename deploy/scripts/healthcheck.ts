#!/usr/bin/env node
/**
 * HEALTHCHECK of the container image, which sets both ports: whether the program that is process 1 lives, by its
 * `/healthz`. Exit 0 or 1. Another command than `serve` (ingest's without a word) has no listener: it is healthy as long as it runs. Imports
 * nothing of daybook, since it is started every few seconds.
 */
import { readFileSync } from 'node:fs';

const words = readFileSync('/proc/1/cmdline', 'utf8').split('\0');
const [program = '', command] = words.slice(words.findIndex((word) => word.endsWith('/main.ts')));
if (command === 'serve' || (command === '' && program.startsWith('ingest'))) {
  const port = program.startsWith('compactor') ? process.env.COMPACTOR_PORT : process.env.INGEST_PORT;
  const answer = fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(4_000) });
  process.exitCode = (await answer.catch(() => undefined))?.ok === true ? 0 : 1;
}
