/** Asks on the terminal of the process, whatever stdin and stdout are connected to. */
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
 * Asks for a passphrase, without showing what is typed.
 * @throws DaybookError `identity_needs_passphrase` where there is no terminal, or no answer
 */
export async function askOnTerminal(of: string): Promise<string> {
  const opened = openTerminal();
  if (opened === undefined) {
    throw new DaybookError('identity_needs_passphrase', {
      detail: `${of} has a passphrase, and there is no terminal to ask for it`,
    });
  }
  const { descriptor, terminal } = opened;
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

/**
 * Whether the answer to a question is yes: y or yes.
 * @throws DaybookError `confirmation_needed` where there is no terminal to ask on
 */
export async function confirmOnTerminal(question: string): Promise<boolean> {
  const opened = openTerminal();
  if (opened === undefined) {
    throw new DaybookError('confirmation_needed', {
      detail: 'there is no terminal to ask on, and nothing was changed',
    });
  }
  try {
    writeSync(opened.descriptor, question);
    return /^y(?:es)?$/i.test((await readLine(opened.terminal))?.trim() ?? '');
  } finally {
    opened.terminal.destroy();
  }
}

/** Undefined where there is none. */
function openTerminal(): { descriptor: number; terminal: ReadStream } | undefined {
  try {
    const descriptor = openSync('/dev/tty', 'r+');
    const terminal = new ReadStream(descriptor);
    // The terminal could be gone by the time that it is restored.
    terminal.on('error', () => {});
    return { descriptor, terminal };
  } catch {
    return undefined;
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
