import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseStreamKeys } from '../../shared/crypto/stream-seal.ts';
import { checkSeal, type EnvelopeHeader, readEnvelope, sealAgain, writeEnvelope } from '../../shared/envelope.ts';

const [key, other] = parseStreamKeys(`${'k'.repeat(32)}\n${'o'.repeat(40)}`)!;
const header: EnvelopeHeader = {
  id: 'evt_1',
  source: '/stripe/platform',
  type: 'invoice.paid',
  time: '2026-11-20T10:00:00Z',
  receivedat: '2026-11-20T10:00:01.000Z',
  via: 'webhook',
  scheme: 'stripe',
};
const data = Buffer.from('{"id":"evt_1","seal":"x","data":{}}');

function read(bytes: Uint8Array) {
  const envelope = readEnvelope(bytes);
  assert.ok('header' in envelope, JSON.stringify(envelope));
  return envelope;
}

test('without a key an envelope has the bytes that it always had', () => {
  assert.equal(
    writeEnvelope(header, data).toString(),
    `{"specversion":"1.0","id":"evt_1","source":"/stripe/platform","type":"invoice.paid","time":"2026-11-20T10:00:00Z","datacontenttype":"application/json","receivedat":"2026-11-20T10:00:01.000Z","via":"webhook","scheme":"stripe","data":${data}}`,
  );
});

test('whatever a header holds, it reads as JSON.parse reads it', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1 }),
    fc.constantFrom('a "b"', 'a\\b', 'é', '\u007f', 'plain'),
  );
  const some = fc.option(text, { nil: undefined });
  const others = { subject: some, signedheaders: some, path: some, keyid: some };
  fc.assert(
    fc.property(fc.record({ type: text, scheme: text, ...others }), (given) => {
      const members = { ...header, ...given };
      const found = read(writeEnvelope(members, data, key)).header as unknown as Record<string, unknown>;
      const written = JSON.parse(writeEnvelope(members, data, key).toString());
      for (const name of Object.keys(members)) assert.equal(found[name], written[name], name);
    }),
  );
});

test('a seal holds by its key alone, and leaves header and data as they are', () => {
  const sealed = writeEnvelope(header, data, key);
  const envelope = read(sealed);
  assert.equal(envelope.header.id, 'evt_1');
  assert.deepEqual(envelope.data, data);
  assert.deepEqual(envelope.headerBytes, read(writeEnvelope(header, data)).headerBytes);
  assert.equal(checkSeal(envelope, [other!, key!]), 'holds');
  assert.equal(checkSeal(envelope, [other!]), 'unknown key');
  assert.equal(checkSeal(read(writeEnvelope(header, data)), [key!]), 'absent');
  assert.equal(checkSeal(read(sealAgain(envelope, other)), [other!]), 'holds');
  assert.deepEqual(sealAgain(envelope, undefined), writeEnvelope(header, data));
});

test('no sealed envelope holds after any change of any byte', () => {
  const sealed = writeEnvelope(header, data, key);
  for (let at = 0; at < sealed.length; at += 1) {
    for (const flip of [1, 0x20, 0x80]) {
      const bent = Buffer.from(sealed);
      bent[at] = bent[at]! ^ flip;
      const envelope = readEnvelope(bent);
      if ('header' in envelope) assert.notEqual(checkSeal(envelope, [key!, other!]), 'holds', `byte ${at} ^ ${flip}`);
    }
  }
});

test('no header or data can be moved under the seal of another', () => {
  fc.assert(
    fc.property(fc.json(), fc.json(), fc.string({ maxLength: 20 }), (one, two, id) => {
      fc.pre(one !== two);
      const from = writeEnvelope(header, Buffer.from(one), key).toString();
      const seal = /,"seal":"[^"]*"/.exec(from)![0];
      const bare = writeEnvelope({ ...header, id: `evt_${id.replaceAll(/[^\w]/g, '')}x` }, Buffer.from(two)).toString();
      const envelope = readEnvelope(Buffer.from(bare.replace(',"data":', () => `${seal},"data":`)));
      return !('header' in envelope) || checkSeal(envelope, [key!]) !== 'holds';
    }),
  );
});

test('a seal in another place or of another form is not an envelope', () => {
  const sealed = writeEnvelope(header, data, key).toString();
  const seal = /,"seal":"([^"]*)"/.exec(sealed)![0];
  const bare = sealed.replace(seal, '');
  for (const bent of [
    bare.replace(',"via"', `${seal},"via"`),
    sealed.replace(seal, seal.toUpperCase().replace('SEAL', 'seal')),
    sealed.replace(seal, ',"seal":""'),
    sealed.replace(seal, ',"seal":7'),
    sealed.replace(seal, `${seal},"x":"y"`),
  ]) {
    assert.ok('reason' in readEnvelope(Buffer.from(bent)), bent.slice(0, 400));
  }
});

test('keys stand apart by white space, and short ones are refused', () => {
  assert.equal(parseStreamKeys(`${'a'.repeat(32)},\n${'b'.repeat(32)}\n`)?.length, 2);
  for (const text of ['', '  ', 'a'.repeat(31), `${'a'.repeat(32)} short`])
    assert.equal(parseStreamKeys(text), undefined);
});
