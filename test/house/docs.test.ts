/**
 * The README says what the code does. `UPDATE_DOCS=1` writes the tables of settings, errors and metrics anew and brings the layout
 * up to date; new lines of the layout are taken from the files' first comments and may be put better by hand.
 */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compactorMetrics } from '../../compactor/serve/metrics.ts';
import { ingestMetrics } from '../../ingest/metrics.ts';
import { defaultOf, type SettingName, settings } from '../../shared/config.ts';
import { type ErrorCode, errorCodes, errorKind } from '../../shared/errors.ts';
import type { MetricTable } from '../../shared/metrics/metrics.ts';
import { processMetrics } from '../../shared/metrics/process-metrics.ts';
import { productFiles, projectFiles, readText, root } from './source-files.ts';

const isUpdate = process.env.UPDATE_DOCS === '1';

/** What stands between `<!-- name -->` and `<!-- /name -->`. */
function blockOf(name: string): string {
  const found = new RegExp(`<!-- ${name} -->\n([\\s\\S]*?)<!-- /${name} -->`).exec(readText('README.md'));
  assert.ok(found !== null, `README.md has no block ${name}`);
  return found[1]!;
}

function holdBlock(name: string, expected: string): void {
  const found = blockOf(name);
  if (isUpdate) {
    const readme = readText('README.md').replace(`<!-- ${name} -->\n${found}`, () => `<!-- ${name} -->\n${expected}`);
    writeFileSync(join(root, 'README.md'), readme);
    return;
  }
  assert.equal(found, expected, `README.md, block ${name}: UPDATE_DOCS=1 writes it. It should be:\n${expected}`);
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

test('the table of settings in the README is that of the code', () => {
  const rows = (Object.keys(settings) as SettingName[]).map((name) => {
    const { of, meaning } = settings[name];
    const isSecret = 'secret' in settings[name] && settings[name].secret === true;
    const value = defaultOf(name);
    const shown = value === 'required' || value === 'unset' ? value : `\`${value}\``;
    return [`\`${name}\`${isSecret ? ' (or `_FILE`)' : ''}`, meaning, shown, of];
  });
  holdBlock('settings', tableOf(['variable', 'meaning', 'default', 'used by'], rows));
});

test('the table of errors in the README is that of the code', () => {
  const rows = (Object.keys(errorCodes) as ErrorCode[]).map((code) => {
    const { status, title, hint } = errorKind(code);
    return [`\`${code}\``, status === undefined ? '' : String(status), title, hint];
  });
  holdBlock('errors', tableOf(['code', 'HTTP', 'meaning', 'what to do'], rows));
});

test('the tables of metrics in the README are those of the code, and a unit of seconds or bytes ends the name', () => {
  for (const [block, table] of Object.entries<MetricTable>({
    'ingest-metrics': ingestMetrics,
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
  const rows = rowsOf(blockOf('promises'));
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

test('every file and folder of the project that the README or the CHANGELOG names is there', () => {
  const top = new Set(projectFiles().map((path) => path.split('/')[0]!));
  for (const document of ['README.md', 'CHANGELOG.md']) {
    const text = readText(document);
    const named = [...text.matchAll(/`([\w./-]+)`/g), ...text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(
      ([, path]) => path!,
    );
    const missing = named.filter((path) => top.has(path.split('/')[0]!) && !existsSync(join(root, path)));
    assert.deepEqual(missing, [], document);
  }
});

test('every npm script and every command of the README is there', () => {
  const { scripts, bin } = JSON.parse(readText('package.json'));
  const text = readText('README.md');
  for (const [, script] of text.matchAll(/\bnpm run ([\w:]+)/g)) assert.ok(scripts[script!] !== undefined, script);
  for (const [, program] of text.matchAll(/\bnpx (daybook-\w+)/g)) assert.ok(bin[program!] !== undefined, program);
});

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
