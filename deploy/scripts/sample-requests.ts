/** What `npm start` prints when both programs are ready: requests to paste into a shell, and how to see what came of them. */
import { existsSync } from 'node:fs';
import { isAbsolute, join, relative } from 'node:path';
import { shellWord } from '../../shared/program/shell-word.ts';

export interface SampleOptions {
  /** Base URLs. */
  readonly ingest: string;
  readonly compactor: string;
  /** The checkout; absolute, as all paths here. */
  readonly root: string;
  readonly dataDirectory: string;
  /** The development sources; undefined where sources are configured, whose secrets are not for us to use. */
  readonly sources: string | undefined;
  /** Undefined where a signing key is configured. */
  readonly verifyingKey: string | undefined;
  /** What was made because it was not set: the commands need it, too. Values are absolute paths or texts. */
  readonly made: Readonly<Record<string, string>>;
}

/**
 * Lines to be pasted are indented by two spaces: for any POSIX shell, in a terminal too. They sign as they run, since a
 * signature is taken for five minutes, and read the secret from its file: it is not shown.
 */
export function sampleRequests(options: SampleOptions): string {
  const { ingest, compactor, root, sources } = options;
  return [
    `Ready: ingest at ${ingest}, the compactor at ${compactor}. Ctrl-C ends both.`,
    'In another terminal:',
    pasted([`cd ${shellWord(root)}`]),
    ...(sources === undefined ? [] : requests(ingest, pathFrom(root, sources))),
    'Give the commands the same values, and see what waits for the night.\nA day is closed an hour after its end, in UTC:',
    pasted(look(options)),
  ].join('\n\n');
}

function requests(ingest: string, sources: string): string[] {
  return [
    'Send a webhook as Stripe does:',
    pasted([
      secretOf('platform', sources),
      't=$(date +%s)',
      `body='{"id":"evt_'$t'","object":"event","type":"invoice.paid","created":'$t',"livemode":false,`,
      `  "data":{"object":{"id":"in_1","object":"invoice","amount_paid":1990,"currency":"eur"}}}'`,
      `v1=$(printf '%s' "$t.$body" | openssl dgst -sha256 -hmac "$secret" | sed 's/.* //')`,
      `curl -sS -w '\\n' ${ingest}/webhooks/platform -H 'Content-Type: application/json' \\`,
      '  -H "Stripe-Signature: t=$t,v1=$v1" -d "$body"',
    ]),
    'Send an event as a server of yours does:',
    pasted([
      secretOf('billing', sources),
      "date=$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')",
      'time=$(date -u +%Y-%m-%dT%H:%M:%SZ)',
      `token=$(printf '%s\\n/events' "$date" |`,
      '  openssl dgst -sha256 -hmac "$secret" -binary | openssl base64)',
      `curl -sS -w '\\n' ${ingest}/events -H 'Content-Type: application/json' \\`,
      '  -H "X-Gu-Tools-Service-Name: billing" -H "X-Gu-Tools-HMAC-Date: $date" \\',
      '  -H "X-Gu-Tools-HMAC-Token: HMAC $token" \\',
      `  -d '{"app":"billing","stage":"dev","type":"invoice.sent","value":19.90,"eventTime":"'$time'"}'`,
    ]),
  ];
}

/** The secret is the text that is alone on its line: the only one, or after `keys rotate` the newest. */
function secretOf(source: string, sources: string): string {
  return `secret=$(sed -n '/"${source}"/,/]/s/^ *"\\([^"]*\\)",*$/\\1/p' ${shellWord(sources)})`;
}

function look({ root, dataDirectory, verifyingKey, made }: SampleOptions): string[] {
  const settings = [
    ...(dataDirectory === join(root, 'data') ? [] : [`DAYBOOK_DATA_DIR=${shellWord(pathFrom(root, dataDirectory))}`]),
    ...Object.entries(made).map(([name, value]) => `${name}=${shellWord(pathFrom(root, value))}`),
    ...(verifyingKey === undefined ? [] : [`COMPACTOR_VERIFYING_KEYS=${shellWord(pathFrom(root, verifyingKey))}`]),
  ];
  return [
    // npm ci brings the Node that daybook runs on; an older one may come first.
    ...(existsSync(join(root, 'node_modules/.bin/node')) ? ['export PATH="$PWD/node_modules/.bin:$PATH"'] : []),
    ...settings.map((setting) => `export ${setting}`),
    'node compactor/main.ts run --today',
  ];
}

/** Below the root relative, as one writes it; elsewhere absolute. A text that is not a path stays. */
function pathFrom(root: string, path: string): string {
  if (!isAbsolute(path)) return path;
  const below = relative(root, path);
  return below.startsWith('..') ? path : below;
}

function pasted(lines: readonly string[]): string {
  return lines.map((line) => `  ${line}`).join('\n');
}
