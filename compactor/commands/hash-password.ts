/** `daybook-compactor hash-password`: makes the value of COMPACTOR_CONSOLE_PASSWORD. */
import { text } from 'node:stream/consumers';
import { hashPassword } from '../../shared/crypto/password-hash.ts';
import { DaybookError } from '../../shared/errors.ts';
import { print } from '../../shared/program/standard-output.ts';
import { askOnTerminal } from '../../shared/program/terminal.ts';

const minCharacters = 12;

export async function hashPasswordCommand(): Promise<void> {
  // A line feed at its end is the shell's.
  const password = process.stdin.isTTY ? await askTwice() : (await text(process.stdin)).replace(/\r?\n$/, '');
  if (password.length < minCharacters) {
    throw new DaybookError('usage', { detail: `the password has fewer than ${minCharacters} characters` });
  }
  await print(`${await hashPassword(password)}\n`);
}

async function askTwice(): Promise<string> {
  const password = await askOnTerminal('the console');
  if ((await askOnTerminal('the console, once more')) === password) return password;
  throw new DaybookError('usage', { detail: 'the two are not the same' });
}
