/** `daybook-ingest doctor`: is the installation sound, and, given a captured request, why is it refused? */

import { readFileSync } from 'node:fs';
import { parseInstant, systemClock } from '../../shared/clock.ts';
import { checkFolder, checkSecretFiles, inUnits } from '../../shared/doctor/check-files.ts';
import {
  checkDistinct,
  checkListener,
  type ListenerToCheck,
  otherProgram,
} from '../../shared/doctor/check-listener.ts';
import { openWarningCollector } from '../../shared/doctor/collect-warnings.ts';
import {
  type Check,
  type Finding,
  type Found,
  findAll,
  findingsOfConfiguration,
  ok,
  problem,
  report,
  warning,
} from '../../shared/doctor/finding.ts';
import { envelopeBytes } from '../../shared/envelope.ts';
import { DaybookError, isErrorCode } from '../../shared/errors.ts';
import { checkStream } from '../../shared/stream/check.ts';
import type { StreamFindings } from '../../shared/stream/driver.ts';
import { type DoctorConfiguration, readDoctorConfiguration, readRequestConfiguration } from '../configuration.ts';
import { openPublicKeys } from '../public-keys/public-keys.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';
import { maxBytesSchema } from '../spool/open-spool.ts';
import { type CapturedRequest, parseCapture, parseHead } from './captured-request.ts';
import { readersChecks } from './check-readers.ts';
import { checkSecrets } from './check-secrets.ts';
import { checkSpool } from './check-spool.ts';
import { requestChecks } from './explain-request.ts';

export interface DoctorOptions {
  /** A captured request; `-`: stdin. */
  readonly request?: string;
  readonly headers?: string;
  readonly body?: string;
  /** When the request was received, RFC 3339. */
  readonly at?: string;
  readonly json?: boolean;
}

/** Prints the findings. Sets the exit code as `report` tells. Throws `usage` where the options make no sense. */
export async function doctorCommand(options: DoctorOptions): Promise<void> {
  const request = readRequest(options);
  const nowMs = momentOf(options, request !== undefined);
  await report(await findingsOf(request, nowMs), options.json === true);
}

async function findingsOf(request: CapturedRequest | undefined, nowMs: number): Promise<Finding[]> {
  let checks: Check[];
  try {
    if (request === undefined) checks = installationChecks(readDoctorConfiguration(), nowMs);
    else {
      const { settings, sources } = readRequestConfiguration();
      const { resolved, found } = await readPublicKeys(sources);
      checks = [
        { name: 'secrets', run: () => found },
        ...requestChecks({ request, sources: resolved, maxBodyBytes: settings.INGEST_MAX_BODY_BYTES, nowMs }),
      ];
    }
  } catch (error) {
    return findingsOfConfiguration(error);
  }
  return findAll(checks);
}

function installationChecks({ settings, sources, readers, secretFiles }: DoctorConfiguration, nowMs: number): Check[] {
  const { DAYBOOK_DATA_DIR: dataDirectory, DAYBOOK_STREAM: stream, INGEST_SPOOL: spool } = settings;
  const listeners = listenersOf(settings);
  return [
    { name: 'configuration', run: () => [ok('every setting is sound')] },
    {
      name: 'secrets',
      async run() {
        const { resolved, found } = await readPublicKeys(sources);
        return [...found, ...checkSecrets(resolved, nowMs), ...checkSecretFiles(secretFiles)];
      },
    },
    { name: 'data', run: () => checkFolder('the data directory', dataDirectory) },
    {
      name: 'stream',
      run: async () =>
        fitting(
          await checkStream(stream, dataDirectory, settings.DAYBOOK_STREAM_KEY !== undefined),
          settings.INGEST_MAX_BODY_BYTES,
        ),
    },
    { name: 'spool', run: () => checkSpool(spool, dataDirectory, maxBytesSchema.parse(spool.params?.maxBytes)) },
    ...(readers === undefined ? [] : readersChecks(readers, nowMs)),
    {
      name: 'listeners',
      run: async () => [
        ...checkDistinct(listeners),
        ...(await Promise.all(listeners.map((listener) => checkListener(listener)))).flat(),
      ],
    },
  ];
}

/** As ingest reads them, once. */
async function readPublicKeys(
  sources: readonly ResolvedSource[],
): Promise<{ resolved: readonly ResolvedSource[]; found: Found[] }> {
  const { log, found } = openWarningCollector();
  const keys = openPublicKeys({ clock: systemClock, log, onRead: () => {} });
  const resolved = keys.follow(sources);
  await keys.refresh();
  keys.close();
  return { resolved, found: found('Compare publicKeys of the source with where its issuer has the public settings.') };
}

/** Whether a record holds the largest body with its envelope. */
function fitting({ found, maxValueBytes }: StreamFindings, maxBodyBytes: number): Found[] {
  if (maxValueBytes === undefined || maxValueBytes - envelopeBytes >= maxBodyBytes) return [...found];
  const taken = inUnits(Math.max(0, maxValueBytes - envelopeBytes));
  const said = `a record holds less than INGEST_MAX_BODY_BYTES: bodies of more than ${taken} are answered 413`;
  const hint =
    "Raise the stream's largest record, or lower INGEST_MAX_BODY_BYTES. Stripe's events are seldom over 50 KB.";
  return [...found, warning(said, hint)];
}

function listenersOf(settings: DoctorConfiguration['settings']): ListenerToCheck[] {
  return [
    {
      setting: 'INGEST_PORT',
      host: settings.INGEST_HOST,
      port: settings.INGEST_PORT,
      path: '/readyz',
      explain: (status, body) => explainReadiness(status, body, settings.INGEST_PORT),
    },
    {
      setting: 'INGEST_ADMIN_PORT',
      host: settings.INGEST_ADMIN_HOST,
      port: settings.INGEST_ADMIN_PORT,
      path: '/metrics',
      explain: (status, body) =>
        status === 200 && body.includes('daybook_ingest_')
          ? ok('ingest answers on its admin port')
          : otherProgram('INGEST_ADMIN_PORT', settings.INGEST_ADMIN_PORT),
    },
  ];
}

function explainReadiness(status: number, body: string, port: number): Found {
  const answer = jsonOf(body);
  if (status === 200 && answer.status === 'ready') return ok('ingest answers on its port, and takes events');
  if (status !== 503 || !isErrorCode(answer.code)) return otherProgram('INGEST_PORT', port);
  const { hint } = new DaybookError(answer.code);
  return problem('ingest answers on its port, and says that it is not ready', hint, answer.code);
}

function jsonOf(text: string): { readonly status?: unknown; readonly code?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

function readRequest({ request, headers, body }: DoctorOptions): CapturedRequest | undefined {
  if (request !== undefined && (headers !== undefined || body !== undefined)) {
    throw new DaybookError('usage', { detail: '--request has headers and body in it: give it alone' });
  }
  if (request !== undefined) return parseCapture(readBytes('--request', request));
  if ((headers === undefined) !== (body === undefined)) {
    throw new DaybookError('usage', { detail: '--headers and --body are given together' });
  }
  if (headers === undefined || body === undefined) return undefined;
  return parseHead(readBytes('--headers', headers), readBytes('--body', body));
}

function readBytes(option: string, path: string): Buffer {
  try {
    return readFileSync(path === '-' ? 0 : path);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new DaybookError('usage', { detail: `${option}: the file cannot be read (${reason})` });
  }
}

function momentOf({ at }: DoctorOptions, isOfRequest: boolean): number {
  if (at === undefined) return systemClock.now().getTime();
  if (!isOfRequest) throw new DaybookError('usage', { detail: '--at is when a request was received: give --request' });
  const instant = parseInstant(at);
  if (instant === undefined) throw new DaybookError('usage', { detail: '--at is not an RFC 3339 date-time' });
  return instant;
}
