/** The embedded stream of a machine that is put back to a snapshot. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export function onStreamFile<T>(directory: string, work: (file: DatabaseSync) => T): T {
  const file = new DatabaseSync(join(directory, 'stream.sqlite'));
  try {
    return work(file);
  } finally {
    file.close();
  }
}

/** What a snapshot of the machine holds; gives how it is put back, the id of the stream with it. */
export function snapshotStream(directory: string): () => void {
  const path = join(directory, 'snapshot.sqlite');
  const tables = onStreamFile(directory, (file) => {
    file.prepare('VACUUM INTO ?').run(path);
    return file.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  });
  return () =>
    onStreamFile(directory, (file) => {
      file.prepare('ATTACH ? AS old').run(path);
      const whole = tables.map(
        ({ name }) => `DELETE FROM main.${name}; INSERT INTO main.${name} SELECT * FROM old.${name};`,
      );
      file.exec(`BEGIN; ${whole.join('\n')} COMMIT`);
    });
}
