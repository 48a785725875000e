import assert from 'node:assert/strict';
import { test } from 'node:test';
import { html } from '../../../compactor/pages/html.ts';
import { safeNext } from '../../../compactor/pages/login.ts';

test('whatever is put in is text, in content and in attributes; what html made stays as it is', () => {
  const hostile = `"><script>alert('1')</script>&amp;`;
  const made = html`<a title="${hostile}">${hostile}</a>`;
  const escaped = '&#34;&#62;&#60;script&#62;alert(&#39;1&#39;)&#60;/script&#62;&#38;amp;';
  assert.equal(String(made), `<a title="${escaped}">${escaped}</a>`);
  assert.equal(String(html`<p>${[made, null, false, undefined, 0]}</p>`), `<p>${made}0</p>`);
});

test('characters that are not seen, or turn the text around, are shown as what they are', () => {
  assert.equal(String(html`${'evt_\u202eabc\u0000\u200b\n'}`), 'evt_\\u202eabc\\u0000\\u200b\\u000a');
});

test('after a login one comes to a path of this console, and nowhere else', () => {
  for (const path of ['/now', '/find?id=evt_1&source=a', '/days/platform/2026-11-20'])
    assert.equal(safeNext(path), path);
  for (const path of [
    null,
    '',
    'now',
    '//evil.example',
    '/\\evil.example',
    'https://evil.example',
    '/\t/evil.example',
  ]) {
    assert.equal(safeNext(path), '/', String(path));
  }
});
