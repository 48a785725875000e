/**
 * Random lives of ingest's path, held against a model that knows nothing of queues and circuits: what was answered 2xx is
 * in the stream, in the spool or among the dead letters; first copies of a key are in order; nothing is stuck in the end.
 * A failure prints its seed, its path and the commands, shrunk: the commands go among those kept below.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { fileDisk, memoryDisk, type SimulatedDisk } from './simulated-disk.ts';
import {
  type Kill,
  openSimulation,
  type Simulation,
  type SpoolMode,
  type StreamMode,
  spoolModes,
  steps,
  streamModes,
} from './spool-simulation.ts';

/** Records that were ever dead: requeued ones come out of their order. */
interface Model {
  readonly everDead: Set<string>;
}

type Command = fc.AsyncCommand<Model, Simulation>;

function command(name: string, run: (simulation: Simulation) => unknown): Command {
  return {
    check: () => true,
    async run(model, simulation) {
      await run(simulation);
      await checkNothingLost(model, simulation);
    },
    toString: () => name,
  };
}

/** Requests at once, each with a record for each letter, its key. `!`: records that the stream will not take. */
const receive = (...requests: readonly string[]) =>
  command(`receive(${requests.map((keys) => `'${keys}'`)})`, (simulation) => {
    for (const keys of requests) simulation.receive([...keys.replace('!', '')], keys.endsWith('!'));
  });
const pass = (ms: number) => command(`pass(${ms})`, (simulation) => simulation.advance(ms));
/** A request every 20 ms, of one key after the other. */
const traffic = (ms: number) =>
  command(`traffic(${ms})`, async (simulation) => {
    for (let leftMs = ms; leftMs > 0; leftMs -= 20) {
      simulation.receive([(leftMs / 20) % 2 === 0 ? 'a' : 'b'], false);
      await simulation.advance(20);
    }
  });
const stream = (mode: StreamMode) =>
  command(`stream('${mode}')`, (simulation) => {
    simulation.streamMode = mode;
  });
const spool = (mode: SpoolMode) =>
  command(`spool('${mode}')`, (simulation) => {
    simulation.spoolMode = mode;
  });
const flap = (ms: number, times: number) =>
  command(`flap(${ms}, ${times})`, async (simulation) => {
    for (let time = 0; time < times; time++) {
      simulation.streamMode = time % 2 === 0 ? 'down' : 'up';
      simulation.receive(['a', 'b'], false);
      await simulation.advance(ms);
    }
  });
const killAt = (kill: Kill) =>
  command(`killAt(${JSON.stringify(kill)})`, (simulation) => {
    simulation.kill = kill;
  });
const crash = () => command('crash()', (simulation) => simulation.crash());
const shutDown = () => command('shutDown()', (simulation) => simulation.shutDown());
const requeue = () => command('requeue()', (simulation) => simulation.requeue());
/** `/readyz`, asked after a time in which nothing is sent. */
const ready = (afterMs: number) =>
  command(`ready(${afterMs})`, async (simulation) => {
    await simulation.advance(afterMs);
    const { streamMode, spoolMode } = simulation;
    const wasRefused = () => simulation.sinceRefusalMs() <= 10_000;
    const isSpoolWell = spoolMode === 'up' && !wasRefused();
    const isReady = await simulation.isReady();
    if (isSpoolWell && !wasRefused()) assert.notEqual(isReady, false, 'not ready, though the spool takes events');
    const areBothAway = [streamMode, spoolMode].every((mode) => mode === 'down' || mode === 'hang');
    if (areBothAway) assert.notEqual(isReady, true, 'ready, though neither stream nor spool takes events');
  });

const request = fc
  .tuple(fc.string({ unit: fc.constantFrom(...'abcde'), minLength: 1, maxLength: 3 }), fc.nat(15))
  .map(([keys, chance]) => (chance === 15 ? `${keys}!` : keys));
const receives = fc
  .oneof(fc.tuple(request), fc.array(request, { minLength: 1, maxLength: 12 }))
  .map((requests) => receive(...requests));
const passes = fc.oneof(
  fc.constantFrom(5, 30, 120, 400, 1_500, 4_000).map(pass),
  fc.constantFrom(100, 300, 600, 1_500).map(traffic),
);
const streams = fc.constantFrom(...streamModes).map(stream);
const spools = fc.constantFrom('up' as const, 'brisk' as const, ...spoolModes).map(spool);
const kills = fc
  .record({ step: fc.constantFrom(...steps), isAfter: fc.boolean(), skip: fc.nat(3) })
  .map((kill) => killAt(kill));
const others = fc.oneof(
  fc.constantFrom(crash(), shutDown(), requeue(), ready(0), ready(10_500)),
  fc.tuple(fc.constantFrom(60, 250, 1_000), fc.integer({ min: 2, max: 9 })).map(([ms, times]) => flap(ms, times)),
);
const commands = [receives, passes, receives, passes, receives, passes, streams, streams, spools, kills, others];

async function checkNothingLost(model: Model, simulation: Simulation): Promise<void> {
  // In the order in which records move, which they may do meanwhile.
  const live = await simulation.live();
  const dead = await simulation.dead();
  for (const text of dead) model.everDead.add(text);
  const stored = new Set([...live, ...dead, ...simulation.stream]);
  for (const { text, outcome } of simulation.sent) {
    if (outcome === 'accepted') assert.ok(stored.has(text), `${text} was answered 2xx and is nowhere`);
  }
  assert.deepEqual(simulation.wronged, []);
}

function checkOrder({ everDead }: Model, { sent, stream }: Simulation): void {
  const firstAt = new Map<string, number>();
  for (const [at, text] of stream.entries()) if (!firstAt.has(text)) firstAt.set(text, at);
  for (const key of new Set(sent.map((record) => record.key))) {
    const accepted = sent.filter(
      (record) => record.key === key && record.outcome === 'accepted' && !everDead.has(record.text),
    );
    const places = accepted.map(({ text }) => firstAt.get(text)!);
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
      `first copies of ${key}: ${accepted.map(({ text }) => text)}`,
    );
  }
}

/** With stream and spool healthy all is settled within seconds, and events go straight to the stream. */
async function settle(model: Model, simulation: Simulation): Promise<void> {
  simulation.kill = undefined;
  simulation.streamMode = 'up';
  simulation.spoolMode = 'up';
  await simulation.advance(11_000, 50);
  await checkNothingLost(model, simulation);
  assert.deepEqual(
    simulation.sent.filter(({ outcome }) => outcome === 'waits'),
    [],
    'every sender was answered',
  );
  assert.deepEqual(await simulation.live(), [], 'the spool is empty');
  const dead = await simulation.dead();
  const poison = new Set(simulation.sent.filter(({ isPoison }) => isPoison).map(({ text }) => text));
  for (const text of dead) assert.ok(poison.has(text), `${text} is a dead letter`);
  for (const { text, outcome, isPoison } of simulation.sent) {
    if (outcome !== 'accepted') continue;
    if (isPoison) assert.ok(dead.includes(text) || simulation.stream.includes(text), `${text} is nowhere`);
    else assert.ok(simulation.stream.includes(text), `${text} is not in the stream`);
  }

  const { streamAppends, spoolAppends } = simulation.calls;
  simulation.receive(['a'], false);
  await simulation.advance(20);
  assert.equal(simulation.sent.at(-1)!.outcome, 'accepted');
  assert.deepEqual(simulation.calls, { streamAppends: streamAppends + 1, spoolAppends });

  simulation.takesPoison = true;
  await simulation.requeue();
  await simulation.advance(11_000, 50);
  for (const text of dead) assert.ok(simulation.stream.includes(text), 'what was requeued got through');
  assert.deepEqual(await simulation.live(), []);
  const { records, bytes, dead: left } = await simulation.size();
  assert.deepEqual({ records, left }, { records: 0, left: 0 });
  assert.equal(bytes, emptyBytes, 'an empty spool has all of its room');
  assert.equal(await simulation.isReady(), true);
}

const emptyBytes = 0;

async function live(
  t: TestContext,
  disk: SimulatedDisk,
  maxBytes: number,
  run: (simulation: Simulation, model: Model) => Promise<void>,
): Promise<void> {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  let simulation: Simulation | undefined;
  try {
    simulation = await openSimulation({ tick: (ms) => t.mock.timers.tick(ms) }, disk, maxBytes === plenty);
    const model: Model = { everDead: new Set() };
    await run(simulation, model);
    await settle(model, simulation);
    checkOrder(model, simulation);
    await simulation.shutDown(true);
  } finally {
    simulation?.abandon();
    t.mock.timers.reset();
    await disk.remove();
  }
}

const runs = (usual: number) => ({ numRuns: examples.length + Number(process.env.SPOOL_RUNS ?? usual), examples });
const lives = fc.commands(commands, { maxCommands: 60, size: 'max' });
/** Room for all, or for some tens of records. */
const plenty = 64 * 1024 * 1024;
const little = 8_000;
const room = fc.constantFrom(plenty, plenty, little);

/** Lives that found a fault of ingest, or one that was put in to see whether it would be found. */
const kept: readonly (readonly Command[])[] = [
  // The door was held for longer than those behind it could wait.
  [receive(...Array(5).fill('aaa'), ...Array(12).fill('ab')), stream('late'), traffic(600)],
  // Put in: a refusal of the spool is believed for ever, by /readyz, by the next append.
  [stream('down'), spool('full'), receive('a'), pass(1_500), spool('up'), ready(10_500)],
  [stream('down'), spool('full'), traffic(600), spool('up'), pass(4_000), receive('a'), pass(1_500)],
  [stream('down'), spool('down'), traffic(600), spool('up'), pass(4_000), receive('a'), pass(1_500)],
  // Put in: /readyz asks the spool for nothing.
  [stream('down'), spool('down'), pass(1_500), ready(0)],
  // Put in: a record that fails alone is a dead letter.
  [stream('down'), receive('a'), pass(1_500), stream('lost'), pass(1_500)],
  // Put in: the door changes over though it may be held no longer.
  [spool('brisk'), receive('a', 'a', 'aaa', 'aaa', 'a!', 'a', 'a!', 'a', 'aaa', 'a'), traffic(600), receive('a')],
  // Put in: it changes over while the queue is not held.
  [spool('brisk'), stream('lost'), traffic(300), traffic(100), flap(250, 2), pass(600), traffic(300)],
  // Put in: a hold does not wait for what is in flight.
  [flap(1_000, 5), flap(60, 2), spool('brisk'), traffic(100), pass(600), traffic(300)],
  // Put in: a stop does not wait for what is in flight.
  [stream('hang'), traffic(100), shutDown()],
];
const examples = kept.flatMap((list) => [plenty, little].map((bytes): [Iterable<Command>, number] => [list, bytes]));

test(
  'whatever stream, spool and process do, nothing answered 2xx is lost, keys keep their order and nothing is stuck',
  {
    timeout: 120_000,
  },
  (t) =>
    fc.assert(
      fc.asyncProperty(lives, room, async (list, maxBytes) =>
        live(t, await memoryDisk(maxBytes), maxBytes, (simulation, model) =>
          fc.asyncModelRun(() => ({ model, real: simulation }), list),
        ),
      ),
      runs(150),
    ),
);

test('the same with a spool in a file, of which a kill leaves what was written', { timeout: 120_000 }, (t) =>
  fc.assert(
    fc.asyncProperty(lives, room, (list, maxBytes) =>
      live(t, fileDisk(maxBytes), maxBytes, (simulation, model) =>
        fc.asyncModelRun(() => ({ model, real: simulation }), list),
      ),
    ),
    runs(15),
  ),
);
