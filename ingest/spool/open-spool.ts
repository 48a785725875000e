/** The types of spool, and how INGEST_SPOOL chooses among them. Code that composes its own ingest may pass further ones. */
import { z } from 'zod';
import type { SpoolSettings } from '../../shared/config.ts';
import { refuseProblems } from '../../shared/config.ts';
import { inPlainWords, modulePath } from '../../shared/setting-shapes.ts';
import type { BackingStore, BackingStoreOptions, OpenBackingStore } from './backing-store.ts';
import { openFileStore } from './file-store.ts';
import { openMemoryStore } from './memory-store.ts';
import { sqlParams } from './sql-params.ts';

export interface SpoolType {
  /** Strict: what it does not name is refused. */
  readonly params: z.ZodObject;
  /** Called with the params as the schema gives them back, defaults filled in. */
  readonly open: OpenBackingStore;
}

export type SpoolTypes = Readonly<Record<string, SpoolType>>;

const defaultMaxBytes = 1024 ** 3;

/** Of live and dead records together. */
export const maxBytesSchema = z
  .int('must be a whole number of bytes')
  .min(1, 'must be a whole number of bytes, 1 or more')
  .default(defaultMaxBytes);

const boundedSchema = z.strictObject({ maxBytes: maxBytesSchema });

export const spoolTypes = {
  file: { params: boundedSchema, open: openFileStore },
  memory: { params: boundedSchema, open: openMemoryStore },
  sql: {
    params: sqlParams.safeExtend({ maxBytes: maxBytesSchema }),
    // The client library is loaded only where it is used.
    open: async (options) => (await import('./sql-store.ts')).openSqlStore(options),
  },
  module: {
    params: z.strictObject({
      path: modulePath,
      maxBytes: maxBytesSchema,
      /** Handed on as they are. */
      params: z.record(z.string(), z.unknown()).optional(),
    }),
    open: async (options) => (await import('./module-store.ts')).openModuleStore(options),
  },
} satisfies SpoolTypes;

/** Adds what is wrong with INGEST_SPOOL, each problem with the names that are known instead. No value is quoted. */
export function checkSpool(settings: SpoolSettings, types: SpoolTypes, problems: string[]): void {
  const type = typeOf(settings, types);
  if (type === undefined) {
    problems.push(`INGEST_SPOOL.type: ${JSON.stringify(settings.type)} is none of ${Object.keys(types).join(', ')}`);
    return;
  }
  const parsed = type.params.safeParse(settings.params ?? {}, { error: inPlainWords });
  if (parsed.success) return;
  for (const issue of parsed.error.issues) {
    const where = ['INGEST_SPOOL.params', ...issue.path].map(String).join('.');
    if (issue.code !== 'unrecognized_keys') problems.push(`${where}: ${issue.message}`);
    else for (const key of issue.keys) problems.push(`${where}.${key}: ${unknownParameter(settings.type, type)}`);
  }
}

function unknownParameter(name: string, type: SpoolType): string {
  return `is not a parameter of ${name}, which has ${Object.keys(type.params.shape).join(', ')}`;
}

function typeOf(settings: SpoolSettings, types: SpoolTypes): SpoolType | undefined {
  return Object.hasOwn(types, settings.type) ? types[settings.type] : undefined;
}

/**
 * Opens the spool that the settings name. Rejects with `configuration_invalid`, and as its type does: with
 * `spool_in_use` where another process drains it and it is one process's own.
 */
export async function openSpool(
  settings: SpoolSettings,
  context: Omit<BackingStoreOptions, 'params'>,
  types: SpoolTypes = spoolTypes,
): Promise<BackingStore> {
  const problems: string[] = [];
  checkSpool(settings, types, problems);
  refuseProblems(problems);
  const type = typeOf(settings, types)!;
  return type.open({ ...context, params: type.params.parse(settings.params ?? {}) });
}
