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
      const why = code === 'EADDRINUSE' ? `port ${port} is in use (EADDRINUSE)` : code;
      const hint = `Give ${setting} another port, or end the program that holds it.`;
      reject(
        new DaybookError('listener_unavailable', {
          detail: `${host}:${port} cannot be opened: ${why}. See ${setting}`,
          ...(code === 'EADDRINUSE' && { hint }),
          cause,
        }),
      );
    });
    server.listen(port, host, () => resolve(server.address() as AddressInfo));
  });
}
