/** The OpenSearch of test/services/opensearch.sh, which a test may kill and start again, and what it is asked. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readText, root } from '../house/source-files.ts';
import { freePorts, openService } from '../services/service.ts';

interface Facts {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
}

export interface SearchCluster {
  readonly url: string;
  readonly port: number;
  /** Ends it by SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on its data and its port. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Where OpenSearch is not installed the answer is the reason, in words. */
export async function openSearchCluster(): Promise<SearchCluster | string> {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-opensearch-'));
  const [port] = await freePorts(1);
  const start = () => openService<Facts>('opensearch.sh', { parameters: [folder, `${port}`] });
  let service = await start();
  if (typeof service === 'string') {
    await rm(folder, { recursive: true });
    return service;
  }
  const { url } = service.facts;
  return {
    url,
    port: port!,
    async kill() {
      if (typeof service === 'string') return;
      process.kill(service.facts.pid, 'SIGKILL');
      await service.ended;
    },
    async restart() {
      service = await start();
    },
    async stop() {
      if (typeof service !== 'string') await service.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The answer's JSON; rejects with what OpenSearch says. A body makes it a POST. */
export async function ask<T>(url: string, path: string, body?: object, method = body ? 'POST' : 'GET'): Promise<T> {
  const response = await fetch(`${url}/${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    headers: { 'content-type': 'application/json' },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text.slice(0, 2_000)}`);
  return JSON.parse(text) as T;
}

/** Up to a second old. */
export async function countOf(url: string): Promise<number> {
  return (await ask<{ count: number }>(url, 'daybook-events*/_count')).count;
}

export interface Found {
  readonly _index: string;
  readonly _id: string;
  readonly _source: unknown;
}

/** How many documents have the text in any of their fields, as a user searches. */
export async function hitsOf(url: string, text: string): Promise<number> {
  const query = { query_string: { query: text, fields: ['*'], lenient: true } };
  return (await ask<{ count: number }>(url, 'daybook-events*/_count', { query })).count;
}

/** All documents, page by page. */
export async function allDocuments(url: string, query: object = { match_all: {} }): Promise<Found[]> {
  const documents: Found[] = [];
  await ask(url, 'daybook-events*/_refresh', {});
  for (let after: unknown[] | undefined; ; ) {
    const page: { hits: { hits: (Found & { sort: unknown[] })[] } } = await ask(url, 'daybook-events*/_search', {
      ...{ size: 1_000, query, sort: ['event.id', '_index'] },
      ...(after === undefined ? {} : { search_after: after }),
    });
    const { hits } = page.hits;
    if (hits.length === 0) return documents;
    documents.push(...hits);
    after = hits.at(-1)!.sort;
  }
}

const elkFolder = join(root, 'deploy/elk');

/** The first block of deploy/elk/README.md in this language that holds the text, as it stands. */
export function shownBlock(language: string, part: string): string {
  const blocks = readText('deploy/elk/README.md').matchAll(
    new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, 'gm'),
  );
  for (const [, block] of blocks) if (block!.includes(part)) return block!;
  throw new Error(`deploy/elk/README.md shows no ${language} with ${part}`);
}

/** Runs a block of shell commands of deploy/elk/README.md. */
export function runShown(part: string, url: string): string {
  return execFileSync('bash', ['-euc', shownBlock('sh', part)], {
    cwd: elkFolder,
    env: { ...process.env, ELK_URL: url },
    encoding: 'utf8',
  });
}
