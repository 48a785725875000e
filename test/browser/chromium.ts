/**
 * A real browser for tests: the Chromium of this machine, driven by playwright-core, which brings none of its own. Every host
 * name is answered on loopback, by https with a certificate of the test's own, so that cookies and origins are what they are in
 * production: of a host without a port.
 */
import { once } from 'node:events';
import { createServer } from 'node:https';
import { connect } from 'node:net';
import { test } from 'node:test';
import { createServer as createTlsServer, type Server } from 'node:tls';
import { type BrowserContext, chromium } from 'playwright-core';
import { pathOf } from '../require-service.ts';
import { read, run } from '../shared/crypto/keys.ts';

export interface TestBrowser {
  /** Of somebody who has not been anywhere yet. */
  newContext(): Promise<BrowserContext>;
  close(): Promise<void>;
}

export interface Hosts {
  /** By host names: the port on loopback that answers, by plain http. TLS ends before it, as in production. */
  readonly backends: Readonly<Record<string, number>>;
  /** The page of every other host, by its URL. */
  readonly page: (url: URL) => { readonly html: string; readonly headers?: Readonly<Record<string, string>> };
}

/**
 * Where there is no Chromium the tests of the file are skipped, said by name, and the answer is undefined; with
 * REQUIRE_SERVICES=1 that is a failure. To be called at the top of a test file.
 */
export async function startChromium({ backends, page }: Hosts): Promise<TestBrowser | undefined> {
  const executablePath = pathOf('chromium');
  if (executablePath === undefined) {
    if (process.env.REQUIRE_SERVICES === '1') throw new Error('chromium is not installed, and REQUIRE_SERVICES=1');
    test('chromium with all tests of this file', { skip: 'needs the command chromium' });
    return undefined;
  }
  run('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test'],
    ...['-keyout', 'tls-key.pem', '-out', 'tls-certificate.pem'],
  ]);
  const tls = { key: read('tls-key.pem'), cert: read('tls-certificate.pem') };
  const pages = createServer(tls, ({ headers, url }, response) => {
    const { html, headers: more = {} } = page(new URL(url ?? '/', `https://${headers.host}`));
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', ...more }).end(html);
  });
  const fronts = new Map<string, Server>([['*', pages]]);
  for (const [host, port] of Object.entries(backends)) {
    const front = createTlsServer(tls, (socket) => {
      const behind = connect(port, '127.0.0.1');
      socket.pipe(behind).pipe(socket);
      for (const end of [socket, behind]) {
        end.on('error', () => {
          socket.destroy();
          behind.destroy();
        });
      }
    });
    fronts.set(host, front);
  }
  for (const front of fronts.values()) await once(front.listen(0, '127.0.0.1'), 'listening');
  const rules = [...fronts]
    // The first rule that fits counts.
    .sort(([host]) => (host === '*' ? 1 : -1))
    .map(([host, front]) => `MAP ${host} 127.0.0.1:${(front.address() as { port: number }).port}`);
  const browser = await chromium.launch({
    executablePath,
    args: [
      // As root, as in continuous integration, there is no sandbox; /dev/shm is small in containers.
      ...['--no-sandbox', '--disable-dev-shm-usage', '--no-proxy-server'],
      // ignoreHTTPSErrors holds for pages that are there: what one leaves behind may need a new connection.
      '--ignore-certificate-errors',
      `--host-resolver-rules=${rules.join(', ')}`,
    ],
  });
  return {
    newContext: () => browser.newContext({ ignoreHTTPSErrors: true }),
    async close() {
      await browser.close();
      pages.closeAllConnections();
      for (const front of fronts.values()) front.close();
    },
  };
}
