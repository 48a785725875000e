/** A stream of somebody's own, as a module exports it: the embedded one, in a folder that the params name. */
import { openEmbeddedReader, openEmbeddedWriter } from '../../../../shared/stream/embedded.ts';
import type { StreamModule } from '../../../../shared/stream/module/module-stream.ts';

export const openWriter: StreamModule['openWriter'] = async ({ folder, isBroken }) => {
  const writer = await openEmbeddedWriter({ directory: folder as string });
  if (isBroken !== true) return writer;
  const failing = async () => {
    throw Object.assign(new Error('the tape is torn'), { unacknowledged: [1], refused: [1], retry: false });
  };
  const unsound = async () => {
    throw Object.assign(new Error('no tape'), { code: 'stream_unsuitable' });
  };
  return { ...writer, append: failing, prove: unsound, probe: () => Promise.reject(new Error('away')) };
};

export const openReader: StreamModule['openReader'] = ({ folder }, options) =>
  openEmbeddedReader({ directory: folder as string, ...options });
