/** What ingest answers beside shared/http/problem.ts: refusals that name the fields that are wrong. */
import { Problem } from '../../shared/http/problem.ts';

/** One field that is wrong: `pointer` is a JSON Pointer as a URI fragment, `#/0/eventTime`. */
export interface FieldError {
  readonly pointer: string;
  readonly detail: string;
}

/** A refusal that names fields. */
export class FieldsRefused extends Problem {
  constructor(code: 'event_invalid' | 'time_out_of_range', errors: readonly FieldError[]) {
    const detail = errors.length === 1 ? errors[0]!.detail : `${errors.length} fields are wrong.`;
    super(code, { errors }, { detail });
    this.name = 'FieldsRefused';
  }
}
