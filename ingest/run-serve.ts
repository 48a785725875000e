/** `daybook-ingest serve`: composes the running ingest. Only this file and its configuration know the process. */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../shared/clock.ts';
import { unsealedWarning } from '../shared/crypto/stream-seal.ts';
import type { DaybookError } from '../shared/errors.ts';
import { openMetricsListener } from '../shared/metrics/metrics.ts';
import { tellListening } from '../shared/program/listening.ts';
import { openLog } from '../shared/program/log.ts';
import { keepYoungGenerationAsItIs } from '../shared/program/memory.ts';
import { isLocalStream, openWriter } from '../shared/stream/open.ts';
import { readServeConfiguration } from './configuration.ts';
import { type KeyedSource, openIngestMetrics } from './metrics.ts';
import { openPublicKeys } from './public-keys/public-keys.ts';
import { openLateWriter } from './publish/late-writer.ts';
import { openProvenWriter } from './publish/proven-writer.ts';
import type { ResolvedSource } from './schemes/resolved-source.ts';
import { serve } from './serve.ts';
import { openSpool } from './spool/open-spool.ts';
import { openSpoolSearch } from './spool/search-spool.ts';
import { type SourcesWatch, watchSources } from './watch-sources.ts';

/** Ends by a signal, or where the stream turns out to refuse for good: then it rejects with why. */
export async function serveCommand(): Promise<void> {
  keepYoungGenerationAsItIs();
  const hadTerminal = hasTerminal();
  const { settings, sources, sourceFiles: files, readAgain } = readServeConfiguration();
  const { DAYBOOK_DATA_DIR: dataDirectory, DAYBOOK_STREAM: stream, INGEST_SPOOL: spoolSettings } = settings;
  const log = openLog('ingest', settings.LOG_LEVEL);
  const clock = systemClock;
  if (settings.DAYBOOK_STREAM_KEY === undefined && !isLocalStream(stream)) log.warn(unsealedWarning);
  const refused = Promise.withResolvers<never>();
  // Heard at the end of this function; until then a refusal must not go unheard.
  refused.promise.catch(() => undefined);
  await using closing = new AsyncDisposableStack();

  const spool = await openSpool(spoolSettings, { dataDirectory, clock, log, use: 'drain' });
  closing.defer(() => spool.close());
  const open = () => openProvenWriter({ open: () => openWriter(stream, dataDirectory, log), log });
  const writer = await openLateWriter({ open, log, onRefused: (error: DaybookError) => refused.reject(error) });
  closing.defer(() => writer.close());
  const metrics = openIngestMetrics({ sources: sources.map(keyedSource), spoolSize: () => spool.size(), log });
  closing.defer(() => metrics.close());
  const keys = openPublicKeys({
    historyDirectory: join(dataDirectory, 'public-keys'),
    clock,
    log,
    onRead: metrics.publicKeyRead,
    onKeys: (followed) => metrics.know(followed.map(keyedSource)),
  });
  closing.defer(() => keys.close());
  const followed = keys.follow(sources);
  await keys.refresh();
  const { INGEST_ADMIN_HOST: adminHost, INGEST_ADMIN_PORT: adminPort } = settings;
  const scrape = () => metrics.scrape();
  const searchSpool = openSpoolSearch(spool);
  const listener = await openMetricsListener({
    host: adminHost,
    port: adminPort,
    setting: 'INGEST_ADMIN_PORT',
    scrape,
    questions: { '/spool': (parameters) => searchSpool(parameters.get('id') ?? '') },
    log,
  });
  closing.defer(() => listener.close());

  const starting = serve({
    host: settings.INGEST_HOST,
    port: settings.INGEST_PORT,
    sources: followed,
    trustedProxies: settings.INGEST_TRUSTED_PROXIES,
    maxBodyBytes: settings.INGEST_MAX_BODY_BYTES,
    publishDeadlineMs: settings.INGEST_PUBLISH_DEADLINE_MS,
    streamKey: settings.DAYBOOK_STREAM_KEY?.[0],
    writer,
    spool,
    isSpoolDurable: spoolSettings.type !== 'memory',
    isStreamAway: !writer.isOpen(),
    observer: metrics.observer,
    clock,
    log,
  });
  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, 'stopping');
    await (await starting).close();
    // Whatever still hangs on (a stream that does not answer) must not keep the process.
    process.exit(0);
  };
  // In place before the port is open: who sees it open may send a signal.
  process.once('SIGTERM', stop).once('SIGINT', stop);
  let watch: SourcesWatch | undefined;
  // One that comes before the watch is there is heeded all the same: the watch begins by reading them.
  process.on('SIGHUP', () => {
    // Sent also to what was started on a terminal that is closed: nobody would be left who knows that it runs.
    if (hadTerminal && !hasTerminal()) return void stop('SIGHUP');
    void watch?.lookNow();
    void keys.refresh();
  });
  const ingest = await starting;
  closing.defer(() => ingest.close());
  const take = (changed: readonly ResolvedSource[]) => {
    const followed = keys.follow(changed);
    metrics.know(followed.map(keyedSource));
    ingest.take(followed);
    void keys.refresh();
  };
  watch = watchSources({ files, sources, read: readAgain, take, told: (isSound) => metrics.sourcesRead(isSound), log });
  closing.defer(() => watch?.close());
  tellListening(ingest);
  await refused.promise;
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

function keyedSource({ source: { name }, secrets }: ResolvedSource): KeyedSource {
  return { name, keyids: secrets.map(({ keyid }) => keyid) };
}
