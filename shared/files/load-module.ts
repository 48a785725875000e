/** Modules of the user's own, named by their path in a setting. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DaybookError, type ErrorCode, isErrorCode, messageOf } from '../errors.ts';

/**
 * The functions `names` that the module exports. Rejects with `configuration_invalid` where it cannot be loaded, or lacks one.
 * A module is run with all rights of the program: whoever may write the file may do what the program may.
 */
export async function loadModule<T>(path: string, names: readonly (keyof T & string)[]): Promise<T> {
  let loaded: Partial<Record<string, unknown>>;
  try {
    loaded = await import(pathToFileURL(resolve(path)).href);
  } catch (cause) {
    throw new DaybookError('configuration_invalid', {
      detail: `the module ${path} cannot be loaded: ${messageOf(cause)}`,
      cause,
    });
  }
  const missing = names.filter((name) => typeof loaded[name] !== 'function');
  if (missing.length === 0) return loaded as T;
  throw new DaybookError('configuration_invalid', {
    detail: `the module ${path} does not export ${missing.map((name) => `a function ${name}`).join(' and ')}`,
  });
}

/**
 * What a module threw, as an error of daybook's: its `code`, if that is one of daybook's, with its `hint` and `retry`; else `fallback`,
 * which may pass.
 */
export function errorOfModule(error: unknown, fallback: ErrorCode): DaybookError {
  if (error instanceof DaybookError) return error;
  const { code, hint, retry } = (error ?? {}) as { code?: unknown; hint?: unknown; retry?: unknown };
  const isKnown = isErrorCode(code);
  return new DaybookError(isKnown ? code : fallback, {
    detail: messageOf(error),
    ...(typeof hint === 'string' ? { hint } : {}),
    ...(typeof retry === 'boolean' ? { retry } : isKnown ? {} : { retry: true }),
    cause: error,
  });
}
