/** Books after a first night, with all that a second one can meet on the stream: what the fault tests run on. */
import { addDays } from '../../shared/clock.ts';
import { type Books, openBooks, stripeRecord } from '../compactor/books.ts';
import { billingRecord, copiesOf, type Expected, eventsOfDay } from './night-books.ts';

export const sources = [{ name: 'billing' }, { name: 'platform' }];
/** The time of the second night. */
const secondNight = '2026-11-21T03:00:00Z';
const today = '2026-11-21';
export const [oldDay, newDay] = ['2026-11-18', '2026-11-19'];

export interface Scenario {
  readonly books: Books;
  /** When all closed days are archived. */
  readonly expected: Expected;
  /** Today's events, which wait. */
  readonly waiting: Expected;
}

/**
 * The first night archives `oldDay` and the empty day after it. Then come, for the second: late events and late copies
 * of `oldDay`, events of `newDay`, one of them in copies of two days and one in copies that differ, an event of today, and a record that is not an envelope.
 */
export async function openScenario(): Promise<Scenario> {
  const books = await openBooks();
  const first = eventsOfDay(oldDay, 4, 'first');
  const late = eventsOfDay(oldDay, 2, 'late');
  const next = eventsOfDay(newDay, 4, 'next');
  const open = eventsOfDay(today, 2, 'today');
  await books.deliver(...first.flatMap((event) => copiesOf(event, 1)));
  await books.deliver(billingRecord('b-old', `${oldDay}T10:00:00Z`), billingRecord('b-copy', `${oldDay}T11:00:00Z`));
  books.at(`${newDay}T03:00:00Z`);
  await books.night(sources);

  await books.deliver(...open.flatMap((event) => copiesOf(event, 1)));
  await books.deliver(
    ...first.slice(0, 3).flatMap((event) => copiesOf(event, 60, 90)),
    ...late.flatMap((event) => copiesOf(event, 600)),
    ...next.flatMap((event) => copiesOf(event, 1, 2)),
    stripeRecord(next[0]!.text.replace('"data": {', '"data": {"changed":true,'), {
      receivedAt: `${newDay}T23:00:00.000Z`,
    }),
    { key: 'garbage', value: Buffer.from('no envelope') },
    billingRecord('b-copy', `${newDay}T11:00:00Z`),
    billingRecord('b-new', `${newDay}T12:00:00Z`),
    billingRecord('b-new', `${addDays(newDay, 1)}T12:00:00Z`),
  );
  books.at(secondNight);
  return {
    books,
    expected: {
      platform: { ids: [...first, ...late, ...next].map(({ id }) => id), deliveries: 4 + 6 + 2 + 8 + 1 },
      billing: { ids: ['b-old', 'b-copy', 'b-new'], deliveries: 2 + 1 + 2 },
    },
    waiting: { platform: { ids: open.map(({ id }) => id), deliveries: 2 } },
  };
}
