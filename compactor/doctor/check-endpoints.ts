/** The endpoints that Stripe delivers a source's events to. */
import { counted, type Found, ok, problem, warning } from '../../shared/doctor/finding.ts';
import type { StripeSource } from '../../shared/schemes/sources.ts';
import {
  dataOf,
  type Endpoint,
  endpointPaths,
  endpointsOf,
  isHere,
  isSent,
  onlyOurs,
  type StripeObject,
  textOf,
} from '../stripe/endpoints.ts';
import type { StripeQuestions } from './ask-stripe.ts';

const permissionHint =
  'Give the key read access to Webhook Endpoints, or look at the endpoint in the Dashboard (Developers, Webhooks).';

export async function checkEndpoints(
  questions: StripeQuestions,
  source: StripeSource,
  wantsThin: boolean,
  /** A destination of the organisation may send its events, which no account's list shows. */
  isMember = false,
): Promise<Found[]> {
  const path = `/webhooks/${source.name}`;
  const v1 = await questions.ask(endpointPaths[0]);
  const v2 = await questions.ask(endpointPaths[1]);
  const seen = endpointsOf('denied' in v1 ? undefined : v1.value, 'denied' in v2 ? undefined : v2.value);
  const { endpoints, destinations } = seen;
  const known = new Set(endpoints.map(({ place }) => place));
  // Destinations that are webhook endpoints of v1 as well are known already.
  const all = [...endpoints, ...destinations.filter(({ isThin, place }) => isThin || !known.has(place))];
  if ('denied' in v1 && all.length === 0) {
    const lacking = v1.permission === undefined ? '' : ` (it lacks ${v1.permission})`;
    return [
      warning(`the key may not read the webhook endpoints${lacking}: their settings are not checked`, permissionHint),
    ];
  }
  const here = all.filter((endpoint) => isHere(endpoint, path));
  const snapshots = here.filter(({ isThin }) => !isThin);
  const thin = here.filter(({ isThin }) => isThin);
  const found = [...checkPaths(all, path), ...checkModes(here, source)];
  if (snapshots.length === 0 && thin.length === 0 && isMember) {
    const said = `no endpoint of its own has a URL that ends with ${path}; whether the organisation's sends its events, Stripe does not tell`;
    return [...found, warning(said, "Look at the event destinations in the organisation's Dashboard.")];
  }
  if (snapshots.length === 0 && thin.length === 0) {
    const others = all
      .map(({ place }) => place)
      .slice(0, 5)
      .join(', ');
    const said = `no endpoint at Stripe has a URL that ends with ${path}: nothing is delivered`;
    const hint = `Add one in the Dashboard (Developers, Webhooks), for all events. ${others === '' ? 'There is none at all.' : `There are: ${others}.`}`;
    return [...found, problem(said, hint)];
  }
  if (snapshots.length > 0) found.push(...(await checkSnapshots(questions, snapshots, source)));
  if (wantsThin) found.push(...checkThin(thin, path, 'denied' in v2));
  // Snapshots that cannot be seen are none that are lacking.
  if (!('denied' in v1)) found.push(...checkTwins(thin, snapshots));
  found.push(
    ...checkOrigins(
      destinations.filter((one) => isHere(one, path)),
      source,
    ),
  );
  if (source.accounts === undefined && !isMember) {
    const ours = onlyOurs(seen, path);
    const why = 'denied' in v1 || 'denied' in v2 ? 'the key may not read all endpoints' : ours;
    const word = "Stripe's own word on what it delivered";
    found.push(ok(typeof why === 'string' ? `${word} is not asked: ${why}` : `${word} is asked of settled days`));
  }
  return [...found, ...checkRepeated(snapshots), ...checkRepeated(thin)];
}

/** Those that lead to the source but for a slash or their case: ingest answers 404, or 400 to another source's events. */
function checkPaths(endpoints: readonly Endpoint[], path: string): Found[] {
  return endpoints
    .filter((endpoint) => !isHere(endpoint, path) && endpoint.path.toLowerCase().replace(/\/+$/, '').endsWith(path))
    .map(({ id, place }) => {
      const said = `${id} sends to ${place}, which ingest answers with 404: it is not ${path} to the letter`;
      return problem(said, 'Mend its URL in the Dashboard.');
    });
}

function checkModes(endpoints: readonly Endpoint[], { mode, accounts }: StripeSource): Found[] {
  // Endpoints of a platform get both modes from Stripe, and ingest keeps one.
  if (mode === undefined || accounts !== undefined) return [];
  return endpoints
    .filter(({ isLive }) => isLive !== undefined && isLive !== (mode === 'live'))
    .map(({ id, isLive }) => {
      const said = `${id} sends events of ${isLive ? 'live' : 'test'} mode, which the source refuses: it takes ${mode} mode alone`;
      return problem(said, 'Send them to a source of their own.');
    });
}

async function checkSnapshots(
  questions: StripeQuestions,
  endpoints: readonly Endpoint[],
  { accounts }: StripeSource,
): Promise<Found[]> {
  const enabled = endpoints.filter(({ isEnabled }) => isEnabled);
  const disabled = endpoints.filter(({ isEnabled }) => !isEnabled);
  const found: Found[] = [];
  if (enabled.length === 0) {
    const said = `${disabled.map(nameOf).join(', ')} ${disabled.length === 1 ? 'is' : 'are'} disabled: nothing is delivered`;
    const hint =
      'Find out why (Stripe disables an endpoint that fails for days, and says so by e-mail), then enable it in the Dashboard. What it missed is recovered from the list, for 30 days.';
    return [problem(said, hint)];
  }
  for (const endpoint of disabled) found.push(ok(`${nameOf(endpoint)} is disabled, beside one that is not`));
  const newest = accounts === undefined ? await newestEvents(questions) : [];
  const version = textOf(newest[0]?.api_version);
  const versions = enabled.flatMap((endpoint) => checkVersion(endpoint, version));
  const events = new Set(enabled.flatMap((endpoint) => endpoint.events));
  const names = enabled.map(nameOf).join(' and ');
  if (events.has('*')) {
    found.push(ok(`${names} sends all events, but those that Stripe sends only where they are named`));
    return [...found, ...versions];
  }
  const missed = [...new Set(newest.flatMap(({ type }) => textOf(type) ?? []))].filter((type) => !isSent(events, type));
  const example =
    missed.length === 0
      ? ''
      : `; of the newest ${newest.length} events it does not send ${missed.slice(0, 5).join(', ')}`;
  const said = `${names} sends ${counted(events.size, 'type')} of events alone${example}`;
  const hint =
    'Select all events at the endpoint. The others reach the archive from the list alone, a night later, with no proof of a delivery.';
  return [...found, warning(said, hint), ...versions];
}

async function newestEvents(questions: StripeQuestions): Promise<readonly StripeObject[]> {
  const reply = await questions.ask('/v1/events?limit=100');
  return 'denied' in reply ? [] : dataOf(reply.value);
}

/** Listed events are in the account's version of their time (docs.stripe.com/api/events): the newest shows today's. */
function checkVersion({ id: name, version }: Endpoint, listed: string | undefined): Found[] {
  if (version === undefined) {
    const said = `${name} has no API version of its own: its events change their form when the account's version is raised`;
    return [warning(said, 'Make an endpoint with a version (it cannot be given later), and disable this one.')];
  }
  if (listed === undefined || listed === version) return [ok(`${name} is pinned to API version ${version}`)];
  const said = `${name} is pinned to API version ${version}, the account is at ${listed}`;
  return [ok(`${said}: what is in \`data\` is not compared between the two`)];
}

function checkThin(thin: readonly Endpoint[], path: string, isDenied: boolean): Found[] {
  if (thin.some(({ isEnabled }) => isEnabled)) return [ok(`${thin.map(nameOf).join(' and ')} sends thin events`)];
  if (isDenied) {
    return [warning('the key may not read the event destinations: that of thin events is not checked', permissionHint)];
  }
  if (thin.length > 0) {
    const hint = 'Find out why, then enable it in the Dashboard (Workbench, Webhooks).';
    return [problem(`${thin.map(nameOf).join(' and ')} is disabled: no thin event is delivered`, hint)];
  }
  const hint = `Add one in the Dashboard (Workbench, Webhooks) with the payload "thin". Until then they come from the list alone.`;
  return [warning(`no event destination sends thin events to ${path}`, hint)];
}

/** Thin events of their own, of which there is no snapshot, though their names begin as those of twins do. */
const withoutSnapshot: ReadonlySet<string> = new Set([
  'v1.billing.meter.error_report_triggered',
  'v1.billing.meter.no_meter_found',
]);

/** A thin event is a notification: what it is about is in its snapshot, which then comes from the list alone. */
function checkTwins(thin: readonly Endpoint[], snapshots: readonly Endpoint[]): Found[] {
  const sending = thin.filter(({ isEnabled }) => isEnabled);
  const sent = new Set(snapshots.filter(({ isEnabled }) => isEnabled).flatMap(({ events }) => events));
  const alone = new Set(
    sending
      .flatMap(({ events }) => events)
      .filter((type) => type === '*' || (type.startsWith('v1.') && !withoutSnapshot.has(type)))
      .map((type) => type.replace(/^v1\./, ''))
      .filter((type) => !isSent(sent, type)),
  );
  const isAlone = sending.length > 0 && sent.size === 0;
  if (alone.size === 0 && !isAlone) return [];
  const named = [...alone].filter((type) => type !== '*').slice(0, 5);
  const which = named.length === 0 ? '' : ` of ${named.join(', ')}${alone.size > named.length ? ' and others' : ''}`;
  const said = `${sending.map(nameOf).join(' and ')} sends thin events${which} alone, and no endpoint their snapshots`;
  const hint =
    'What is delivered then is a notification. The objects come from the list, a night later and with no proof of a delivery: add an endpoint that sends the snapshot events of these types.';
  return [warning(said, hint)];
}

function checkOrigins(destinations: readonly Endpoint[], { accounts }: StripeSource): Found[] {
  const enabled = destinations.filter(({ isEnabled, from }) => isEnabled && from !== undefined);
  if (enabled.length === 0) return [];
  const names = enabled.map(nameOf).join(' and ');
  const hasAccounts = enabled.some(({ from }) => from!.includes('@accounts'));
  if (accounts !== undefined && !hasAccounts) {
    const hint = 'Add an endpoint for events of connected accounts. Until then they come from the list alone.';
    return [warning(`${names} sends the events of its own account alone, none of connected accounts`, hint)];
  }
  if (accounts === undefined && hasAccounts) {
    const hint = 'Name them in `accounts` of the source, or write "all": else their days stay unreconciled.';
    return [warning(`${names} sends events of connected accounts, too, which no list is asked for`, hint)];
  }
  return [];
}

function checkRepeated(endpoints: readonly Endpoint[]): Found[] {
  const enabled = endpoints.filter(({ isEnabled }) => isEnabled);
  if (enabled.length < 2) return [];
  const said = `${enabled.length} enabled endpoints send to this source: ${enabled.map(nameOf).join(', ')}`;
  const hint =
    'Disable what is not needed: each event comes once from each (and is archived once). Each has a signing secret of its own, and `secrets` needs them all.';
  return [warning(said, hint)];
}

function nameOf({ id, place }: Endpoint): string {
  return `${id} (${place})`;
}
