/** Asks for a passphrase on the terminal, without showing what is typed. */
import { openSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { DaybookError } from '../errors.ts';

const enter = [0x0a, 0x0d];
const interrupt = 0x03;
const endOfInput = 0x04;
const erase = [0x08, 0x7f];
const eraseLine = 0x15;
/** More is a file that was pasted by mistake. */
const maxBytes = 4096;

/**
 * Asks on the terminal of the process, whatever stdin and stdout are connected to.
 * @throws DaybookError `identity_needs_passphrase` where there is no terminal, or no answer
 */
export async function askOnTerminal(of: string): Promise<string> {
  let descriptor: number;
  try {
    descriptor = openSync('/dev/tty', 'r+');
  } catch {
    throw new DaybookError('identity_needs_passphrase', {
      detail: `${of} has a passphrase, and there is no terminal to ask for it`,
    });
  }
  const terminal = new ReadStream(descriptor);
  // The terminal could be gone by the time that it is restored.
  terminal.on('error', () => {});
  terminal.setRawMode(true);
  try {
    writeSync(descriptor, `Passphrase of ${of}: `);
    const answer = await readLine(terminal);
    if (answer !== undefined) return answer;
    throw new DaybookError('identity_needs_passphrase', { detail: `no passphrase was given for ${of}` });
  } finally {
    terminal.setRawMode(false);
    writeSync(descriptor, '\n');
    terminal.destroy();
  }
}

/** Undefined where it is broken off. What is typed after the line is left out. */
function readLine(terminal: ReadStream): Promise<string | undefined> {
  return new Promise((resolve) => {
    const typed: number[] = [];
    const take = (chunk: Buffer) => {
      for (const byte of chunk) {
        if (enter.includes(byte)) return end(Buffer.from(typed).toString('utf8'));
        if (byte === interrupt || (byte === endOfInput && typed.length === 0)) return end(undefined);
        if (erase.includes(byte)) dropCharacter(typed);
        else if (byte === eraseLine) typed.length = 0;
        else if (byte !== endOfInput) typed.push(byte);
        if (typed.length > maxBytes) return end(undefined);
      }
    };
    const gone = () => end(undefined);
    const end = (answer: string | undefined) => {
      terminal.off('data', take).off('end', gone).off('close', gone);
      terminal.pause();
      resolve(answer);
    };
    terminal.on('data', take).on('end', gone).on('close', gone);
  });
}

/** Of a character of several bytes all: those that follow its first begin with the bits 10. */
function dropCharacter(typed: number[]): void {
  let byte = typed.pop();
  while (byte !== undefined && (byte & 0xc0) === 0x80) byte = typed.pop();
}
