/** Who sees the manifests from outside: do they answer, and what is the newest that each has seen? */
import { counted, type Found, ok, warning } from '../../shared/doctor/finding.ts';
import { messageOf } from '../../shared/errors.ts';
import { askTimestamp, askWhetherWitness, hostOf, type Witnesses } from '../anchors/anchor-ledger.ts';
import { type Standing, standingOf } from '../anchors/standing.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { OpenStore } from './with-store.ts';

const hint = 'See COMPACTOR_TIMESTAMPS and COMPACTOR_WITNESSES. What it sees next covers all manifests before.';

/** A time stamp is asked for and not kept; a witness is shown nothing. `ledger`: undefined where it cannot be read. */
export async function checkWitnesses(
  witnesses: Witnesses,
  ledger: Ledger | undefined,
  opened: OpenStore,
): Promise<Found[]> {
  const { url: authority, roots = '' } = witnesses.timestamps ?? {};
  const found: Found[] = [];
  if (authority !== undefined) {
    const asked = askTimestamp(authority, Buffer.from('daybook doctor'), roots);
    found.push(
      await answerOf(
        hostOf(authority),
        asked.then(() => 'gives time stamps that the roots hold'),
      ),
    );
  }
  for (const { url, key } of witnesses.log?.witnesses ?? []) {
    if (url !== undefined)
      found.push(
        await answerOf(
          key.name,
          askWhetherWitness(url).then(() => 'answers as a witness'),
        ),
      );
  }
  if (ledger === undefined) return found;
  return [...found, ...(await standingOf({ ...opened, witnesses }, ledger)).map(standingFound)];
}

async function answerOf(witness: string, asked: Promise<string>): Promise<Found> {
  try {
    return ok(`${witness} ${await asked}`);
  } catch (error) {
    return warning(`${witness} sees nothing at present: ${messageOf(error)}`, hint, 'anchor_pending');
  }
}

function standingFound({ witness, seen, behind, since }: Standing): Found {
  if (behind === 0)
    return ok(`${witness} has seen ${seen === 0 ? 'nothing: there is no manifest' : `manifest ${seen}, the newest`}`);
  const newest = seen === 0 ? 'no manifest' : `nothing after manifest ${seen}`;
  const said = `${witness} has seen ${newest}: it is ${counted(behind, 'manifest')} behind, since ${since}`;
  return warning(
    said,
    'The next `run` asks it again, and its word covers these too. Their log says what it answered.',
    'anchor_pending',
  );
}
