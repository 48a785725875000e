/** Into a real PostgreSQL, counted against the archive. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { restoreArchive } from '../../../compactor/restore/restore-archive.ts';
import { openPostgresOutput } from '../../../compactor/restore/restore-postgres.ts';
import { openSortBudget } from '../../../compactor/staging/external-sort.ts';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { startService } from '../../services/service.ts';
import { eventsOf, openArchive, signedRecord } from '../archive-under-test.ts';
import type { Books } from '../books.ts';

const service = await startService<{ port: number }>('postgres.sh');

if (service !== undefined) {
  const url = `postgres://postgres@127.0.0.1:${service.facts.port}/postgres`;
  let books: Books;
  let client: pg.Client;
  before(async () => {
    books = await openArchive();
    client = new pg.Client({ connectionString: url });
    await client.connect();
  });
  after(async () => {
    await client.end();
    await books.close();
    await service.stop();
  });

  async function restore(table = 'daybook.events') {
    const output = await openPostgresOutput({ url, table });
    try {
      const report = await restoreArchive({
        store: books.store,
        ledger: await books.ledger(),
        selection: { sources: [], days: [], types: [], ids: [], objects: [], except: [] },
        identities: parseIdentities(books.identity),
        output,
        budget: openSortBudget({ directory: books.directory, maxBytes: 1024 * 1024 }),
        progress: () => {},
      });
      await output.finish();
      return { events: report.events, ...output.rows() };
    } finally {
      await output.close();
    }
  }

  test('every event is a row with its line as it is; again nothing is added, later what came since', async () => {
    assert.deepEqual(await restore(), { events: 27, inserted: 27, there: 0 });
    const states = [...(await books.ledger()).sources.values()].flatMap((days) => [...days.values()]);
    const lines = (await Promise.all(states.flatMap(({ parts }) => parts.map(({ key }) => books.lines(key))))).flat();
    const { rows } = await client.query('SELECT source, id, type, time, event::text AS line FROM daybook.events');
    assert.deepEqual(rows.map(({ line }) => line).sort(), lines.sort());
    for (const { source, id, type, time, line } of rows) {
      const event = JSON.parse(line);
      assert.deepEqual([id, type], [event.id, event.type]);
      assert.equal(time.getTime(), source === 'billing' ? Date.parse(event.time) : event.created * 1000);
    }
    await client.query("UPDATE daybook.events SET event = '{}' WHERE source = 'billing'");
    assert.deepEqual(await restore(), { events: 27, inserted: 0, there: 27 });
    const { rows: kept } = await client.query(
      "SELECT DISTINCT event::text AS line FROM daybook.events WHERE source = 'billing'",
    );
    assert.deepEqual(kept, [{ line: '{}' }], 'what is there stays');

    books.at('2026-11-26T03:00:00Z');
    await books.deliver(...eventsOf('2026-11-24', 600, 'more').map((event) => signedRecord(event)));
    await books.night([{ name: 'billing' }, { name: 'platform' }]);
    assert.deepEqual(await restore(), { events: 627, inserted: 600, there: 27 });
  });

  test('a table of another shape and a database that is away are told', async () => {
    await client.query('CREATE TABLE daybook.other (id int)');
    await assert.rejects(restore('daybook.other'), { code: 'database_failed' });
    await assert.rejects(
      openPostgresOutput({ url: 'postgres://nobody:secret@127.0.0.1:1/x', table: 'a.b' }),
      (error: Error) => {
        assert.doesNotMatch(error.message, /secret/);
        return (error as { code?: string }).code === 'database_failed';
      },
    );
  });
}
