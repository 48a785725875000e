/**
 * Random lives of the client, held against a model that knows nothing of queues and waits: what `send` took is stored, refused
 * to the caller or held, at every moment; in the end everything good is stored, in one form, and everything else was refused.
 * A failure prints its seed, its path and the commands, shrunk.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Client, type DaybookEvent, openClient } from '../../ingest/client/client.ts';
import type { Page } from '../../ingest/client/page.ts';
import {
  type FailingServer,
  type Failure,
  failingServer,
  failures,
  type Kind,
  retryAfterMs,
} from '../ingest/client/failing-server.ts';
import { type ManualClock, manualClock, settled } from '../ingest/client/manual-clock.ts';

const bounds = { maxEvents: 25, maxBytes: 8000, chunkEvents: 7, chunkBytes: 3000 };
const outlivingBytes = 65_536;
const hourMs = 3_600_000;

interface Life {
  client: Client;
  readonly clock: ManualClock;
  readonly server: FailingServer;
  readonly taken: Map<string, Kind>;
  readonly refused: Map<string, Kind>;
  /** Of the next request, unless the page hides. */
  notBeforeMs: number;
  hide: () => void;
  sent: number;
}

function openLife({ alone, inPage, seed }: { alone: boolean; inPage: boolean; seed: number }): Life {
  const clock = manualClock();
  const server = failingServer(clock);
  const taken = new Map<string, Kind>();
  const refused = new Map<string, Kind>();
  let step = seed;
  const life: Life = { client: undefined as never, clock, server, taken, refused, notBeforeMs: 0, hide() {}, sent: 0 };
  life.client = openClient({
    ...bounds,
    url: 'https://ingest.test/events',
    auth: { alone, sign: () => ({}) },
    onRefused({ event, status }) {
      assert.ok(status === 400 || status === 413);
      assert.ok(!refused.has(event.id as string), 'refused once');
      refused.set(event.id as string, taken.get(event.id as string)!);
    },
    onFailure({ status, waitMs }) {
      if (status === 503) assert.ok(waitMs >= retryAfterMs);
      life.notBeforeMs = clock.now() + waitMs;
    },
    fetch: (url, init) => server.fetch(url, init),
    clock,
    random() {
      step = (step * 16807 + 1) % 2147483647;
      return step / 2147483647;
    },
    page: inPage ? pageOf(life) : undefined,
  });
  return life;
}

function pageOf(life: Life): Page {
  return {
    location: { href: 'https://site.test/' },
    onHide(run) {
      life.hide = run;
      return () => {
        life.hide = () => {};
      };
    },
  };
}

function sendOne(life: Life, kind: Kind, padding: number): void {
  const id = `e${life.sent++}`;
  const event: DaybookEvent = {
    app: 'model',
    stage: 'TEST',
    type: 't',
    value: 1,
    id,
    tags: { is: kind, é: 'é'.repeat(padding) },
  };
  const bytes = Buffer.byteLength(JSON.stringify({ ...event, eventTime: new Date(life.clock.now()).toISOString() }));
  const before = life.client.held();
  const said = life.client.send(event);
  if (said === 'taken') life.taken.set(id, kind);
  const expected =
    bytes + 2 > bounds.chunkBytes
      ? 'too_large'
      : before.events >= bounds.maxEvents || before.bytes + bytes > bounds.maxBytes
        ? 'full'
        : 'taken';
  assert.equal(said, expected);
}

function check({ client, server, taken, refused }: Life): void {
  const { events, bytes } = client.held();
  assert.ok(events <= bounds.maxEvents && bytes <= bounds.maxBytes, 'bounded');
  const unanswered = [...taken.keys()].filter((id) => !server.stored.has(id) && !refused.has(id));
  assert.ok(events >= unanswered.length, `${unanswered.length} are neither stored nor refused, ${events} are held`);
  for (const [id, texts] of server.stored) {
    assert.equal(taken.get(id), 'good');
    assert.equal(new Set(texts).size, 1, 'a repetition has the same bytes');
  }
  assert.ok(server.open.keepaliveBytes <= outlivingBytes);
}

function checkRequests(life: Life, from: number, notBeforeMs: number, alone: boolean): void {
  for (const { ids, bytes, atMs } of life.server.requests.slice(from)) {
    assert.ok(ids.length <= (alone ? 1 : bounds.chunkEvents) && bytes <= bounds.chunkBytes);
    assert.equal(new Set(ids).size, ids.length);
    if (life.notBeforeMs === notBeforeMs) assert.ok(atMs >= notBeforeMs, 'before Retry-After and the wait are over');
  }
  assert.ok(life.server.open.count <= (alone ? 4 : 1), 'requests at once');
}

type Step =
  | { readonly do: 'send'; readonly kinds: readonly Kind[]; readonly padding: number }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'server'; readonly failure: Failure | undefined }
  | { readonly do: 'flush' | 'hide' };

const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('send' as const),
        kinds: fc.array(
          fc.oneof({ weight: 8, arbitrary: fc.constant<Kind>('good') }, fc.constantFrom<Kind>('bad', 'deep')),
          { minLength: 1, maxLength: 12 },
        ),
        padding: fc.constantFrom(0, 0, 50, 600, 1200, 1600),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 400, 1000, 21_000, 90_000) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('server' as const),
        failure: fc.constantFrom<Failure | undefined>(undefined, ...failures),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('flush' as const, 'hide' as const) }) },
  ),
  { maxLength: 40 },
);

async function run(life: Life, alone: boolean, all: readonly Step[]): Promise<void> {
  let hasHidden = false;
  for (const step of all) {
    const from = life.server.requests.length;
    const { notBeforeMs } = life;
    if (step.do === 'send') for (const kind of step.kinds) sendOne(life, kind, step.padding);
    else if (step.do === 'pass') await life.clock.advance(step.ms);
    else if (step.do === 'server') life.server.failure = step.failure;
    else if (step.do === 'flush') void life.client.flush();
    else life.hide();
    await settled();
    check(life);
    hasHidden ||= step.do === 'hide';
    if (!hasHidden) checkRequests(life, from, notBeforeMs, alone);
  }
}

const settings = fc.record({ alone: fc.boolean(), inPage: fc.boolean(), seed: fc.nat({ max: 1_000_000 }) });
const runs = { numRuns: Number(process.env.CLIENT_RUNS ?? 200) };

test('whatever the server does, each event is stored in one form or refused to the caller, and the bounds hold', async () => {
  await fc.assert(
    fc.asyncProperty(settings, steps, async (setting, all) => {
      const life = openLife(setting);
      await run(life, setting.alone, all);

      life.server.failure = undefined;
      const flushed = life.client.flush();
      // Each good event, and each bad one alone if need be, takes one request; the longest wait comes first.
      await life.clock.advance(hourMs);
      await flushed;
      const kinds = [...life.taken];
      assert.deepEqual(life.client.held(), { events: 0, bytes: 0 });
      assert.deepEqual(
        kinds.filter(([id, kind]) => kind === 'good' && !life.server.stored.has(id) && !wasTooLarge(life, id)),
        [],
      );
      assert.deepEqual(
        kinds.filter(([id, kind]) => kind !== 'good' && !life.refused.has(id)),
        [],
      );
      assert.deepEqual(await life.client.close(), []);
      await life.clock.advance(hourMs);
      assert.equal(life.clock.pending(), 0, 'no timer is left');
    }),
    runs,
  );
});

/** One that the server refused while it took little. */
function wasTooLarge(life: Life, id: string): boolean {
  return life.refused.get(id) === 'good';
}

test('whenever the client is closed, what nobody answered for comes back to the caller', async () => {
  await fc.assert(
    fc.asyncProperty(
      settings,
      steps,
      fc.constantFrom<Failure | undefined>(undefined, ...failures),
      async (setting, all, failure) => {
        const life = openLife(setting);
        await run(life, setting.alone, all);
        life.server.failure = failure;
        let left: readonly DaybookEvent[] | undefined;
        void life.client.close({ withinMs: 5000 }).then((events) => {
          left = events;
        });
        assert.equal(life.client.send({ app: 'a', stage: 's', type: 't', value: 1 }), 'closed');
        await life.clock.advance(5000);
        await settled();
        assert.ok(left !== undefined, 'close ends in time');
        const back = new Set(left.map(({ id }) => id as string));
        assert.deepEqual(
          [...life.taken.keys()].filter((id) => !life.server.stored.has(id) && !life.refused.has(id) && !back.has(id)),
          [],
        );
        assert.deepEqual(life.client.held(), { events: 0, bytes: 0 });
        await settled();
        assert.equal(life.server.open.count, 0, 'no request goes on');
        const { length } = life.server.requests;
        await life.clock.advance(hourMs);
        assert.equal(life.server.requests.length, length, 'nothing is sent after the end');
      },
    ),
    runs,
  );
});
