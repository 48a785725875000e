/** Opens a port. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DaybookError } from '../errors.ts';

/** Resolves with the address that it listens at (port 0: any free one); rejects with `listener_unavailable`. */
export function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new DaybookError('listener_unavailable', { detail: `${host}:${port} cannot be opened`, cause }));
    });
    server.listen(port, host, () => resolve(server.address() as AddressInfo));
  });
}
