/** Promise 2 from end to end: ingest is killed under load, the night comes, and what was acknowledged is archived. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { type Books, openBooks } from '../compactor/books.ts';
import { type IngestProcess, startIngestProcess } from '../ingest/ingest-process.ts';
import { stripeEvents } from '../stripe/events.ts';
import { sendWebhook } from '../stripe/webhook-sender.ts';
import { startNight } from './night-process.ts';

const secret = 'whsec_endToEnd';
let books: Books;
let ingest: IngestProcess | undefined;

beforeEach(async () => {
  books = await openBooks();
});
afterEach(async () => {
  ingest?.process.kill('SIGKILL');
  await ingest?.exited;
  await books.close();
});

test('kill -9 of ingest under load: every event that was answered 2xx is archived once by the next night', async () => {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const events = stripeEvents({
    count: 900,
    seed: 'end to end',
    fromSeconds: nowSeconds - 3 * 86_400,
    toSeconds: nowSeconds,
  });
  const acknowledged = new Set<string>();
  let next = 0;
  for (const killAfter of [120, 200, Number.POSITIVE_INFINITY]) {
    ingest = await startIngestProcess({
      cwd: books.directory,
      environment: {
        DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [secret] }]),
        DAYBOOK_DATA_DIR: books.directory,
        INGEST_PORT: '0',
      },
    });
    const { url, process: child } = ingest;
    let answered = 0;
    const send = async () => {
      while (next < events.length && child.exitCode === null && child.signalCode === null) {
        const event = events[next++]!;
        // Every fifth is told twice, as Stripe may.
        for (let copy = 0; copy < (next % 5 === 0 ? 2 : 1); copy += 1) {
          const answer = await sendWebhook({
            url: `${url}/webhooks/platform`,
            body: event.text,
            secrets: [secret],
          }).catch(() => undefined);
          if (answer?.status !== 200) continue;
          acknowledged.add(event.id);
          answered += 1;
          if (answered === killAfter) child.kill('SIGKILL');
        }
      }
    };
    await Promise.all(Array.from({ length: 32 }, send));
    if (killAfter === Number.POSITIVE_INFINITY) child.kill('SIGTERM');
    await ingest.exited;
  }
  assert.ok(acknowledged.size > 500, `${acknowledged.size}`);

  // Two days on, so that today is closed as well.
  books.at(new Date((nowSeconds + 2 * 86_400) * 1000).toISOString());
  const { report, code } = await (await startNight(books)).ended;
  assert.deepEqual([report.errors, code], [[], 0]);
  const archived: string[] = [];
  for (const { parts } of report.days) {
    for (const key of parts) archived.push(...(await books.lines(key)).map((line) => JSON.parse(line).id as string));
  }
  assert.equal(new Set(archived).size, archived.length, 'every event once');
  assert.deepEqual(
    [...acknowledged].filter((id) => !archived.includes(id)),
    [],
  );
});
