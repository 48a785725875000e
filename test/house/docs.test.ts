/** The documents say what the code does. `UPDATE_DOCS=1` writes the tables of settings, errors and metrics. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { compactorMetrics } from '../../compactor/serve/metrics.ts';
import { auditorPolicy, compactorPolicy, ingestPolicy, prunePolicy } from '../../deploy/cdk/policies.ts';
import { ingestMetrics } from '../../ingest/metrics.ts';
import { defaultRules } from '../../ingest/redact/default-rules.ts';
import { redactMetrics } from '../../ingest/redact/metrics.ts';
import { defaultOf, type SettingName, settings } from '../../shared/config.ts';
import { type ErrorCode, errorCodes, errorKind } from '../../shared/errors.ts';
import type { MetricTable } from '../../shared/metrics/metrics.ts';
import { processMetrics } from '../../shared/metrics/process-metrics.ts';
import { hmacScheme } from '../../shared/schemes/hmac.ts';
import { schemeNames } from '../../shared/schemes/schemes.ts';
import { sourcesSchema } from '../../shared/schemes/sources.ts';
import { projectFiles, readText, root } from './source-files.ts';

const isUpdate = process.env.UPDATE_DOCS === '1';

const documents = projectFiles().filter((path) => path.endsWith('.md'));

/** What stands between `<!-- name -->` and `<!-- /name -->`. */
function blockOf(document: string, name: string): string {
  const found = new RegExp(`<!-- ${name} -->\n([\\s\\S]*?)<!-- /${name} -->`).exec(readText(document));
  assert.ok(found !== null, `${document} has no block ${name}`);
  return found[1]!;
}

/** Holds a block of a document equal to what the code says. */
function holdBlock(name: string, expected: string, document = 'shared/README.md'): void {
  const found = blockOf(document, name);
  if (isUpdate) {
    const text = readText(document).replace(`<!-- ${name} -->\n${found}`, () => `<!-- ${name} -->\n${expected}`);
    writeFileSync(join(root, document), text);
    return;
  }
  assert.equal(found, expected, `${document}, block ${name}: UPDATE_DOCS=1 writes it. It should be:\n${expected}`);
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  return [head, head.map(() => '---'), ...rows].map(line).join('');
}

function rowsOf(table: string): string[][] {
  const lines = table.trim().split('\n').slice(2);
  return lines.map((line) =>
    line
      .replace(/^\||\|$/g, '')
      .split('|')
      .map((cell) => cell.trim()),
  );
}

test('the table of settings is that of the code', () => {
  const rows = (Object.keys(settings) as SettingName[]).map((name) => {
    const { of, meaning } = settings[name];
    const isSecret = 'secret' in settings[name] && settings[name].secret === true;
    const value = defaultOf(name);
    const shown = value === 'required' || value === 'unset' ? value : `\`${value}\``;
    return [`\`${name}\`${isSecret ? ' (or `_FILE`)' : ''}`, meaning, shown, of];
  });
  holdBlock('settings', tableOf(['variable', 'meaning', 'default', 'used by'], rows));
});

test('the table of errors is that of the code', () => {
  const rows = (Object.keys(errorCodes) as ErrorCode[]).map((code) => {
    const { status, exit, title, hint } = errorKind(code);
    // What only a sender can meet ends no command.
    const ends = exit ?? (status !== undefined && status < 500 ? '' : 2);
    return [`\`${code}\``, String(status ?? ''), String(ends), title, hint];
  });
  holdBlock('errors', tableOf(['code', 'HTTP', 'exit', 'meaning', 'what to do'], rows));
});

test('the table of what readers do not get is that of the code', () => {
  const quoted = (paths: readonly string[]) => paths.map((path) => `\`${path}\``).join(' ');
  const rows = defaultRules.map(({ type, keep, remove, why }) => [
    why,
    type === undefined ? 'all' : `\`${type}\``,
    keep === undefined ? 'removed' : 'kept',
    quoted(keep ?? remove ?? []),
  ]);
  holdBlock('default-rules', tableOf(['what', 'in events', 'is', 'members'], rows), 'ingest/README.md');
});

test('the rights that deploy/README.md prints are those of the code', () => {
  const stream = 'arn:aws:kinesis:<region>:<account>:stream/<stream>';
  const streamKey = 'arn:aws:kms:<region>:<account>:key/<key>';
  const signingKey = 'arn:aws:kms:<region>:<account>:key/<signing key>';
  const archive = {
    stream,
    streamKey,
    signingKey,
    bucket: 'arn:aws:s3:::<bucket>',
    objects: 'arn:aws:s3:::<bucket>/<prefix>/*',
  };
  for (const [block, policy] of Object.entries({
    'ingest-policy': ingestPolicy(archive),
    'compactor-policy': compactorPolicy(archive),
    'prune-policy': prunePolicy(archive),
    'auditor-policy': auditorPolicy(archive),
  })) {
    holdBlock(block, `\`\`\`json\n${JSON.stringify(policy, null, 2)}\n\`\`\`\n`, 'deploy/README.md');
  }
});

test('the tables of metrics are those of the code, and a unit of seconds or bytes ends the name', () => {
  for (const [block, table] of Object.entries<MetricTable>({
    'ingest-metrics': ingestMetrics,
    'redact-metrics': redactMetrics,
    'compactor-metrics': compactorMetrics,
    'process-metrics': processMetrics,
  })) {
    const rows = Object.entries(table).map(([name, { type, unit, labels = {}, meaning }]) => {
      const shown = Object.keys(labels).map((label) => `\`${label}\``);
      return [`\`${name}\``, type, unit, shown.join(' '), meaning];
    });
    holdBlock(block, tableOf(['name', 'type', 'unit', 'labels', 'meaning'], rows));
    for (const [name, { type, unit }] of Object.entries(table)) {
      assert.equal(/_total$/.test(name), type === 'counter', name);
      assert.equal(/_(seconds|bytes)(_total)?$/.exec(name)?.[1], /^(seconds|bytes)$/.exec(unit)?.[1], name);
    }
  }
});

test('each of the eight promises names tests that are there, by their exact names', () => {
  const rows = rowsOf(blockOf('test/README.md', 'promises'));
  const promises = rows.map(([promise]) => promise!).filter((promise) => promise !== '');
  assert.deepEqual(
    promises.map((promise) => promise.split('.')[0]),
    ['1', '2', '3', '4', '5', '6', '7', '8'],
  );
  for (const [, name, file] of rows) {
    const text = readText(file!.replaceAll('`', ''));
    const quoted = [`'${name!.replaceAll("'", "\\'")}'`, `"${name}"`, `\`${name}\``];
    assert.ok(
      quoted.some((literal) => new RegExp(`\\b(?:test|promise)\\(\\s*${escaped(literal)}`).test(text)),
      `${file} has no test '${name}'`,
    );
  }
});

test('the README has 12 KB at most, and the two commands as they stand', () => {
  const text = readText('README.md');
  assert.ok(Buffer.byteLength(text) <= 12 * 1024, `${Buffer.byteLength(text)} bytes`);
  assert.match(text, /^npm ci && npm run demo$/m);
  assert.match(text, /^npm ci && npm test$/m);
});

test('the sources that a document shows are sound, and each scheme of DAYBOOK_SOURCES is shown to those who set one up', () => {
  const shown = documents.flatMap((document) =>
    [...readText(document).matchAll(/^ *```json\n( *\[[\s\S]*?)^ *```$/gm)]
      .filter(([, text]) => text!.includes('"scheme"'))
      .flatMap(([, text]) => sourcesSchema.parse(JSON.parse(text!))),
  );
  assert.deepEqual(new Set(shown.map(({ scheme }) => scheme)), new Set(schemeNames));
  const protocols = readText('ingest/PROTOCOLS.md');
  const { shape } = hmacScheme.source;
  for (const member of Object.keys(shape)) {
    assert.ok(['name', 'scheme', 'secrets'].includes(member) || protocols.includes(`\`${member}\``), member);
  }
});

test('every file, folder and heading that a document names is there', () => {
  const top = new Set(projectFiles().map((path) => path.split('/')[0]!));
  for (const document of documents) {
    const text = readText(document);
    const quoted = [...text.matchAll(/`([\w./-]+)`/g)]
      .map(([, path]) => path!)
      .filter((path) => path.includes('/') && top.has(path.split('/')[0]!));
    assert.deepEqual(
      quoted.filter((path) => !existsSync(join(root, path))),
      [],
      document,
    );
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
      const [path, heading] = link!.split('#');
      const target = path === '' ? document : join(dirname(document), path!);
      assert.ok(existsSync(join(root, target)), `${document} links to ${link}`);
      if (heading !== undefined) assert.ok(headingsOf(target).has(heading), `${document} links to ${link}`);
    }
  }
});

test('every document and heading that a comment or a message cites, as in "FORMAT.md, Manifests", is there', () => {
  const wrong = projectFiles()
    .filter((path) => path.endsWith('.ts'))
    .flatMap((path) => {
      const text = readText(path).replaceAll(/\n\s*(?:\*|\/\/)?\s*/g, ' ');
      return [...text.matchAll(/([\w/-]+\.md), ([^\n]{0,80})/g)]
        .filter(([, document, heading]) => !isCited(document!, heading!))
        .map(([citation]) => `${path} cites ${citation}`);
    });
  assert.deepEqual(wrong, []);
});

/** `document` as its path, or, where no other has it, as its name. */
function isCited(document: string, text: string): boolean {
  const path = documents.includes(document) ? [document] : documents.filter((one) => one.endsWith(`/${document}`));
  return path.length === 1 && titlesOf(path[0]!).some((title) => new RegExp(`^${escaped(title)}(?!\\w)`).test(text));
}

/** The headings of a document. What stands in a code block is none. */
function titlesOf(document: string): string[] {
  const prose = readText(document).replaceAll(/^```[\s\S]*?^```$/gm, '');
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, title]) => title!);
}

/** Their anchors, as GitHub makes them, and those that the text sets itself. */
function headingsOf(document: string): Set<string> {
  const made = titlesOf(document).map((title) =>
    title
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  );
  const set = [...readText(document).matchAll(/<a id="([\w-]+)">/g)].map(([, id]) => id!);
  return new Set([...made, ...set]);
}

test('every npm script and every command that a document names is there', () => {
  const { scripts, bin } = JSON.parse(readText('package.json'));
  for (const document of documents) {
    const text = readText(document);
    for (const [, script] of text.matchAll(/\bnpm run ([\w:]+)/g)) assert.ok(scripts[script!] !== undefined, script);
    for (const [, program] of text.matchAll(/\bnpx (daybook-\w+)/g)) assert.ok(bin[program!] !== undefined, program);
    // To be copied: outside the checkout npx would run whatever the public registry has under that name.
    assert.doesNotMatch(text, /^\s*(?:\$ )?npx daybook-/m, document);
  }
});

test('nothing cites a document that the project does not have', () => {
  const foreign = new RegExp(`\\b(?:${['interface', 'design', 'protocols'].join('|')})\\.md\\b`);
  const texts = projectFiles().filter((path) => /\.(?:ts|md)$/.test(path));
  assert.deepEqual(
    texts.filter((path) => foreign.test(readText(path))),
    [],
  );
});

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
