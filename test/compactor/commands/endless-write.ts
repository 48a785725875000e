/** To be imported by a program that a test kills: the first write to a file is told on stdout, and never ends. */
import fs from 'node:fs/promises';

const file = await fs.open('/dev/null');
const prototype = Object.getPrototypeOf(file);
await file.close();
const { write } = prototype;
prototype.write = async function (...given: unknown[]) {
  await write.apply(this, given);
  process.stdout.write('written');
  return new Promise(() => setInterval(() => {}, 1000));
};
