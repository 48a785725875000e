/** `daybook-compactor hold` and `release`: what a court or an auditor wants kept is kept, whatever its age. */
import { systemClock } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import { openLog } from '../../shared/program/log.ts';
import { print } from '../../shared/program/standard-output.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openHolder, openStore } from '../../shared/store/open.ts';
import {
  configuredSources,
  consumerOf,
  openConfiguredStripe,
  openSigner,
  readArchiveConfiguration,
} from '../configuration.ts';
import { type HoldReport, holdArchive } from '../ledger/hold-archive.ts';
import { describeHold } from '../ledger/holds.ts';
import { checkDays } from '../restore/restore-selection.ts';
import { holdSettings } from '../settings.ts';
import { askTime } from './ask-time.ts';
import { openStream } from './prune.ts';

export interface HoldOptions {
  readonly source?: string;
  readonly from?: string;
  readonly to?: string;
  readonly reason: string;
  readonly json?: boolean;
}

export function holdCommand(name: string, { source, from, to, reason, json }: HoldOptions): Promise<void> {
  if (!/^[\w.-]{1,80}$/.test(name)) throw usage('a name has letters, digits, - _ and . alone, 80 at most');
  if (reason.trim() === '' || reason.length > 500) throw usage('--reason takes 1 to 500 characters');
  checkDays(from, to);
  const hold = { name, source: source ?? null, from: from ?? null, to: to ?? null, reason };
  return change({ hold }, json === true);
}

export function releaseCommand(name: string, { json }: { readonly json?: boolean }): Promise<void> {
  return change({ release: name }, json === true);
}

async function change(what: Parameters<typeof holdArchive>[2], isJson: boolean): Promise<void> {
  const { settings, verifyingKeys } = readArchiveConfiguration(holdSettings);
  const { DAYBOOK_STORE: configuration, DAYBOOK_DATA_DIR: dataDirectory } = settings;
  const log = openLog('compactor', settings.LOG_LEVEL);
  const { store, prefix } = await openStore(configuration, dataDirectory, { willCreate: true });
  const stripe = openConfiguredStripe(log);
  try {
    const stream = await openStream(settings, consumerOf(store.location, prefix), log);
    const holder = await openHolder(configuration, dataDirectory);
    try {
      const signer = await openSigner(settings.COMPACTOR_SIGNING_KEY, verifyingKeys);
      const means = {
        ...{ signer, stream, holder, configured: configuredSources() },
        askTime: () => askTime(store, stripe === undefined ? [] : [stripe]),
      };
      const report = await holdArchive({ clock: systemClock, store, prefix, verifyingKeys, log }, means, what);
      await print(isJson ? `${JSON.stringify(report)}\n` : describe(report));
    } finally {
      await holder?.close();
      await stream?.close();
    }
  } finally {
    stripe?.close();
    await store.close();
  }
}

function describe({ manifest, holds, days, pruned, inBucket }: HoldReport): string {
  return [
    `Manifest ${manifest} says so. ${holds.length === 0 ? 'No hold is' : `${counted(holds.length, 'hold')} ${holds.length === 1 ? 'is' : 'are'}`} in force, on ${counted(days, 'archived day')}.\n`,
    ...holds.map((hold) => `  ${visibleText(describeHold(hold))}\n`),
    inBucket === null
      ? 'The store has no Object Lock: a hold keeps daybook from deleting, and nobody else.\n'
      : `The legal hold was set or ended on ${counted(inBucket, 'object')} of the bucket.\n`,
    pruned === 0 ? '' : `${counted(pruned, 'object')} of these days had been pruned before.\n`,
  ].join('');
}

function usage(detail: string): DaybookError {
  return new DaybookError('usage', { detail });
}
