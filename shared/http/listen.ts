/** Opens a port. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DaybookError } from '../errors.ts';

/**
 * Resolves with the address that it listens at (port 0: any free one); rejects with `listener_unavailable`. `setting`
 * says where the port comes from.
 */
export function listen(server: Server, host: string, port: number, setting: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const { code = 'unknown' } = cause;
      const isTaken = code === 'EADDRINUSE';
      const isForeign = code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND';
      const why = isTaken ? `port ${port} is in use (EADDRINUSE)` : code;
      const place = isForeign ? setting.replace(/_PORT$/, '_HOST') : setting;
      const detail = `${host}:${port} cannot be opened: ${why}. See ${place}`;
      reject(
        new DaybookError('listener_unavailable', {
          detail,
          ...(isTaken && { hint: `Give ${setting} another port, or end the program that holds it.` }),
          ...(isForeign && { hint: 'This machine has no such address: give one of its own, or 0.0.0.0 for all.' }),
          cause,
        }),
      );
    });
    server.listen(port, host, () => resolve(server.address() as AddressInfo));
  });
}
