import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { inParallel, mapAhead } from '../../shared/parallel.ts';

async function* given<T>(items: readonly T[], failure?: Error): AsyncGenerator<T> {
  for (const item of items) yield item;
  if (failure !== undefined) throw failure;
}

test('in parallel: everything is done, and no more at once than was said', async () => {
  const done: number[] = [];
  let running = 0;
  let most = 0;
  await inParallel([5, 1, 4, 2, 3, 0], 3, async (turns) => {
    running += 1;
    most = Math.max(most, running);
    for (let n = 0; n < turns; n += 1) await turn();
    running -= 1;
    done.push(turns);
  });
  assert.deepEqual(done.toSorted(), [0, 1, 2, 3, 4, 5]);
  assert.equal(most, 3);
});

test('in parallel: after a failure nothing is begun, and what was begun is waited for', async () => {
  const begun: number[] = [];
  let ended = 0;
  const broken = new Error('broken');
  const work = inParallel([1, 2, 3, 4, 5], 2, async (item) => {
    begun.push(item);
    if (item === 1) throw broken;
    await turn();
    ended += 1;
    if (item === 2) throw new Error('a later failure');
  });
  await assert.rejects(work, (error) => error === broken);
  assert.deepEqual([begun, ended], [[1, 2], 1]);
});

test('map ahead: results come in the order of the items, begun ahead no further than was said', async () => {
  let begun = 0;
  let most = 0;
  const results: number[] = [];
  const work = async (item: number) => {
    begun += 1;
    for (let n = item; n < 6; n += 1) await turn();
    return item * 10;
  };
  for await (const { item, result } of mapAhead(given([1, 2, 3, 4, 5, 6]), 3, work)) {
    assert.equal(result, item * 10);
    results.push(item);
    most = Math.max(most, begun - results.length);
  }
  assert.deepEqual(results, [1, 2, 3, 4, 5, 6]);
  assert.equal(most, 2);
});

test('map ahead: a failure comes in its place, after the results before it', async () => {
  const results: number[] = [];
  const work = async (item: number) => {
    if (item === 3) throw new Error('the third');
    return item;
  };
  const walk = async () => {
    for await (const { result } of mapAhead(given([1, 2, 3, 4]), 4, work)) results.push(result);
  };
  await assert.rejects(walk(), /the third/);
  assert.deepEqual(results, [1, 2]);
});

test('map ahead: where the items break off that failure is told, and none of the work goes unheard', async () => {
  const work = async () => {
    throw new Error('of the work');
  };
  const walk = async () => {
    for await (const each of mapAhead(given([1, 2], new Error('of the items')), 4, work)) void each;
  };
  await assert.rejects(walk(), /of the items/);
});
