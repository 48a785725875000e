/** What is kept of a job's report in memory and told at GET /jobs: the report, its lists cut short. */

/** `omitted`: how many entries of each list were left out. */
export type ReportSummary = Readonly<Record<string, unknown>>;

const maxEntries = 20;

/** null where the text is not a JSON object. */
export function summaryOf(text: string | undefined): ReportSummary | null {
  let report: unknown;
  try {
    report = JSON.parse(text ?? '');
  } catch {
    return null;
  }
  if (typeof report !== 'object' || report === null || Array.isArray(report)) return null;
  const omitted: Record<string, number> = {};
  const summary = Object.entries(report).map(([name, value]) => {
    if (!Array.isArray(value) || value.length <= maxEntries) return [name, value];
    omitted[name] = value.length - maxEntries;
    return [name, value.slice(0, maxEntries)];
  });
  return { ...Object.fromEntries(summary), ...(Object.keys(omitted).length === 0 ? {} : { omitted }) };
}
