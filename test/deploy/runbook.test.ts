/** deploy/RUNBOOK.md has a section for each error code and each alert, and each section has what somebody needs at 3 a.m. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes } from '../../shared/errors.ts';
import { readText } from '../house/source-files.ts';
import { readAlerts } from './prometheus/rules.ts';

const sections = readText('deploy/RUNBOOK.md')
  .split(/^(?=###? )/m)
  .filter((text) => text.startsWith('### '))
  .map((text) => ({
    title: text.slice(4, text.indexOf('\n')),
    names: [...text.matchAll(/^<a id="(\w+)"><\/a>`(\w+)`$/gm)].map(([, anchor, shown]) => {
      assert.equal(anchor, shown);
      return anchor!;
    }),
    text,
    wake: /^\*\*Wake\.\*\* (.+)/m.exec(text)?.[1] ?? '',
  }));

test('every error code and every alert has one section, and none is there for what is gone', () => {
  const alerts = readAlerts();
  const names = sections.flatMap((section) => section.names);
  assert.deepEqual(names.toSorted(), [...Object.keys(errorCodes), ...alerts.map(({ name }) => name)].sort());
  assert.deepEqual(
    alerts.filter(({ name, runbook }) => runbook !== `deploy/RUNBOOK.md#${name}`),
    [],
  );
});

test('a section says what it means, what is at risk, what to do with commands to paste, and whom to wake', () => {
  for (const { title, names, text } of sections) {
    assert.ok(names.length > 0, title);
    const order = ['**Means.** ', '**At risk.** ', '**Do.** ', '```\n', '**Wake.** '].map((part) =>
      text.indexOf(`\n${part}`),
    );
    assert.ok(!order.includes(-1), `${title}: ${order}`);
    assert.deepEqual(
      order.toSorted((one, other) => one - other),
      order,
      title,
    );
  }
});

test('an alert that pages wakes somebody, and what wakes nobody at all only makes a ticket', () => {
  const alerts = readAlerts();
  assert.deepEqual(
    alerts.filter(({ severity }) => severity !== 'page' && severity !== 'ticket'),
    [],
  );
  for (const { name, severity } of alerts) {
    const { wake } = sections.find(({ names }) => names.includes(name))!;
    if (severity === 'page') assert.doesNotMatch(wake, /^Nobody\.$/, name);
  }
});
