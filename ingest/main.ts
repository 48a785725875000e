#!/usr/bin/env node
/** daybook-ingest: receives, verifies, and puts on the stream. Nothing else is imported here: it would be compiled at each start. */
import { keepCompiled } from '../shared/program/compile-cache.ts';

keepCompiled('ingest');
const { run } = await import('./command-line.ts');
await run();
