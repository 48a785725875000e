/** A time stamp authority: `openssl ts -reply` behind HTTP, with a root and a certificate of its own making. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Authority {
  readonly url: string;
  /** PEM of the root. */
  readonly roots: string;
  /** What it does instead of answering rightly; undefined: it answers. */
  fault: 'away' | 'refuses' | 'other bytes' | undefined;
  close(): Promise<void>;
}

const configuration = `
[tsa]
default_tsa = t
[t]
serial = ./serial
signer_digest = sha256
default_policy = 1.3.6.1.4.1.13762.3
digests = sha256
ess_cert_id_alg = sha256
certs = ./ca.pem
[ext]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[req]
distinguished_name = dn
[dn]
`;

export async function startAuthority(): Promise<Authority> {
  const folder = fs.mkdtempSync(join(tmpdir(), 'daybook-tsa-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  fs.writeFileSync(join(folder, 'tsa.cnf'), configuration);
  fs.writeFileSync(join(folder, 'serial'), '01\n');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const root = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '9', '-subj', '/CN=Root', ...root);
  openssl(
    'req',
    '-new',
    ...key,
    '-keyout',
    'tsa.key',
    '-out',
    'tsa.csr',
    '-subj',
    '/CN=Authority',
    '-config',
    'tsa.cnf',
  );
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '9', '-extfile', 'tsa.cnf'];
  openssl('x509', '-req', '-in', 'tsa.csr', ...signed, '-extensions', 'ext', '-out', 'tsa.pem');

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    if (authority.fault === 'away') return void request.socket.destroy();
    const query = Buffer.concat(chunks);
    // Within the imprint.
    if (authority.fault === 'other bytes') query[30]! ^= 1;
    fs.writeFileSync(join(folder, 'in.tsq'), authority.fault === 'refuses' ? query.subarray(0, 20) : query);
    const reply = ['ts', '-reply', '-config', 'tsa.cnf', '-queryfile', 'in.tsq', '-inkey', 'tsa.key'];
    try {
      openssl(...reply, '-signer', 'tsa.pem', '-out', 'out.tsr');
      response.setHeader('content-type', 'application/timestamp-reply').end(fs.readFileSync(join(folder, 'out.tsr')));
    } catch {
      response.writeHead(500).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const authority: Authority = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/tsr`,
    roots: fs.readFileSync(join(folder, 'ca.pem'), 'utf8'),
    fault: undefined,
    async close() {
      server.closeAllConnections();
      await once(server.close(), 'close');
      fs.rmSync(folder, { recursive: true });
    },
  };
  return authority;
}
