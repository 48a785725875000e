/** The saved objects of deploy/elk/dashboards.ndjson, and what each visualization asks the cluster. */
import { readText } from '../house/source-files.ts';
import { ask } from './search-cluster.ts';

interface SavedObject {
  readonly type: string;
  readonly id: string;
  readonly attributes: { readonly title: string; readonly [name: string]: unknown };
  readonly references: readonly { readonly name: string; readonly type: string; readonly id: string }[];
}

interface Aggregation {
  readonly id: string;
  readonly type: string;
  readonly schema: string;
  readonly params: {
    readonly field?: string;
    readonly size?: number;
    readonly interval?: string;
    readonly percents?: readonly number[];
  };
}

interface SearchSource {
  readonly indexRefName?: string;
  readonly filter: readonly {
    readonly meta: { readonly value: string; readonly indexRefName: string };
    readonly query: object;
  }[];
}

export function savedObjects(): SavedObject[] {
  const lines = readText('deploy/elk/dashboards.ndjson').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line));
}

/** What an import would refuse or show as broken. */
export function faultsOf(objects: readonly SavedObject[]): string[] {
  const known = new Set(objects.map(({ type, id }) => `${type}:${id}`));
  return objects.flatMap((object) => {
    const { type, id, attributes, references } = object;
    const names = new Set(references.map(({ name }) => name));
    const dangling = references
      .filter((one) => !known.has(`${one.type}:${one.id}`))
      .map((one) => `${one.type}:${one.id}`);
    const source = type === 'index-pattern' ? undefined : sourceOf(object);
    const panels: { panelRefName: string }[] = type === 'dashboard' ? JSON.parse(attributes.panelsJSON as string) : [];
    const named = [
      ...(type === 'visualization' ? [source!.indexRefName ?? 'no index'] : []),
      ...(source?.filter ?? []).map(({ meta }) => meta.indexRefName),
      ...panels.map(({ panelRefName }) => panelRefName),
    ];
    const changed = (source?.filter ?? []).filter(({ meta, query }) => meta.value !== JSON.stringify(query));
    return [
      ...dangling.map((name) => `${id}: ${name} is not in the file`),
      ...named.filter((name) => !names.has(name)).map((name) => `${id}: ${name} names no reference`),
      ...changed.map(({ meta }) => `${id}: a filter shows ${meta.value} and asks something else`),
      ...(attributes.title ? [] : [`${id} has no title`]),
    ];
  });
}

function sourceOf({ attributes }: SavedObject): SearchSource {
  return JSON.parse((attributes.kibanaSavedObjectMeta as { searchSourceJSON: string }).searchSourceJSON);
}

export interface Answer {
  readonly id: string;
  /** Documents that the filter lets through. */
  readonly total: number;
  /** Of the outermost aggregation. */
  readonly buckets: readonly {
    readonly key: unknown;
    readonly doc_count: number;
    readonly [metric: string]: unknown;
  }[];
}

/** Runs each visualization's query as OpenSearch Dashboards puts it together: its filter, its buckets one in the other. */
export async function runVisualizations(url: string): Promise<Answer[]> {
  const objects = savedObjects();
  const pattern = objects.find(({ type }) => type === 'index-pattern')!.attributes.title;
  const visualizations = objects.filter(({ type }) => type === 'visualization');
  return Promise.all(
    visualizations.map(async (object) => {
      const { aggs }: { aggs: Aggregation[] } = JSON.parse(object.attributes.visState as string);
      await assertFields(url, pattern, aggs);
      const metrics = aggs.filter(({ schema, type }) => schema === 'metric' && type !== 'count');
      const inner: object = Object.fromEntries(metrics.map((one) => [one.id, { [one.type]: bodyOf(one) }]));
      const buckets = aggs.filter(({ schema }) => schema !== 'metric');
      const asked = buckets.reduceRight<object>(
        (within, one) => ({ [one.id]: { [one.type]: bodyOf(one), aggs: within } }),
        inner,
      );
      const answer = await ask<{ hits: { total: { value: number } }; aggregations: Record<string, Answer> }>(
        url,
        `${pattern}/_search`,
        {
          ...{ size: 0, track_total_hits: true, aggs: asked },
          query: { bool: { filter: sourceOf(object).filter.map(({ query }) => query) } },
        },
      );
      const { total } = answer.hits;
      return { id: object.id, total: total.value, buckets: answer.aggregations[buckets[0]!.id]!.buckets };
    }),
  );
}

function bodyOf({ type, params: { field, size, interval, percents } }: Aggregation): object {
  if (type === 'terms') return { field, size, order: { _count: 'desc' } };
  if (type === 'date_histogram') return { field, calendar_interval: `1${interval}`, min_doc_count: 1 };
  if (type === 'percentiles') return { field, percents };
  throw new Error(`an aggregation of type ${type} is new here`);
}

/** A field that no document has is asked for without an error, and its panel stays empty. */
async function assertFields(url: string, pattern: string, aggs: readonly Aggregation[]): Promise<void> {
  const fields = aggs.flatMap(({ params: { field } }) => field ?? []);
  const { fields: known } = await ask<{ fields: Record<string, object> }>(
    url,
    `${pattern}/_field_caps?fields=${fields.join()}`,
  );
  const missing = fields.filter((field) => known[field] === undefined);
  if (missing.length > 0) throw new Error(`no field ${missing.join(', ')} in ${pattern}`);
}
