#!/usr/bin/env node
/** daybook-compactor: closes the days, checks and shows the archive. Nothing else is imported here: it would be compiled at each start. */
import { keepCompiled } from '../shared/program/compile-cache.ts';

keepCompiled('compactor');
const { run } = await import('./command-line.ts');
await run();
