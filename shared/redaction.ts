/** What DAYBOOK_REDACTION holds: which members of an event the readers' stream does not get, or gets otherwise. */
import { z } from 'zod';
import { besideOthers } from './setting-shapes.ts';

/** A path begins at the event (`$.data.object`), or anywhere; `*` is any one member, and arrays have no step of their own. */
const path = z
  .string()
  .regex(
    /^(?:\$\.)?(?:\*|[^.*$]+)(?:\.(?:\*|[^.*]+))*$/,
    'must be names joined by dots, each a name or *, $. before them or not',
  );
const paths = z.array(path).min(1, 'names no path').optional();
const pattern = z.string().min(1, 'is empty').optional();

const rule = z
  .strictObject({
    source: pattern,
    type: pattern,
    keep: paths,
    hash: paths,
    truncate: z.record(path, z.int().min(0).max(1_000_000)).optional(),
    remove: paths,
  })
  .refine(({ keep, hash, truncate, remove }) => [keep, hash, truncate, remove].some((each) => each !== undefined), {
    message: 'says nothing: give keep, hash, truncate or remove',
    when: besideOthers,
  });

export const redactionSchema = z.strictObject({
  /** Whether the rules of ingest/redact/default-rules.ts follow those given here. */
  defaults: z.boolean().default(true),
  rules: z.array(rule).default([]),
});

export type Redaction = z.infer<typeof redactionSchema>;
export type RedactionRule = z.infer<typeof rule>;

export function doesHash({ rules }: Redaction): boolean {
  return rules.some(({ hash }) => hash !== undefined);
}
