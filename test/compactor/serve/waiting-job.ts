/** A job that says once how far it is and ends with its parent alone. */
import { endWithParent } from '../../../shared/program/end-with-parent.ts';

endWithParent();
process.send?.({ step: 'waiting', count: 1, total: null });
setInterval(() => {}, 1_000);
