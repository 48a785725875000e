/** The alerts of deploy/prometheus/rules.yaml, in their order. */
import { readText } from '../../house/source-files.ts';

export interface Alert {
  readonly name: string;
  /** page: somebody gets up now; ticket: the next working day. */
  readonly severity: string;
  readonly runbook: string;
}

export const rulesFile = 'deploy/prometheus/rules.yaml';

export function readAlerts(): Alert[] {
  const rules = readText(rulesFile).split('- alert: ').slice(1);
  return rules.map((text) => ({
    name: /^\w+/.exec(text)![0],
    severity: /severity: (\w+)/.exec(text)?.[1] ?? '',
    runbook: /runbook: (\S+)/.exec(text)?.[1] ?? '',
  }));
}
