/** Stores and streams that fail where a test says so: before the call took effect, or after. */
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectRemover, ObjectStore } from '../../shared/store/store.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import type { AppendRecord, EventStreamReader, EventStreamWriter } from '../../shared/stream/stream.ts';

/** `before`: the call fails and nothing happened. `after`: all of it happened, and the call fails. */
export type Fault = 'before' | 'after' | undefined;

/** `call` counts the calls of this operation from 1. */
export type Decide<Operation, Subject> = (operation: Operation, subject: Subject, call: number) => Fault;

type StoreOperation = 'create' | 'head' | 'read' | 'list';
type WriterOperation = 'append' | 'probe';
type ReaderOperation = 'committed' | 'snapshot' | 'read' | 'recordBefore' | 'commit';

/** The subject is the key, or the prefix of `list`. */
export function faultyStore(store: ObjectStore, decide: Decide<StoreOperation, string>): ObjectStore {
  const { once, each } = failing(decide, () => new DaybookError('store_unavailable', { detail: 'injected' }));
  return {
    location: store.location,
    create: (key, body) => once('create', key, () => store.create(key, body)),
    head: (key) => once('head', key, () => store.head(key)),
    read: (key, range) => each('read', key, () => store.read(key, range)),
    list: (prefix) => each('list', prefix, () => store.list(prefix)),
    close: () => store.close(),
  };
}

/** The subject is the key. */
export function faultyRemover(remover: ObjectRemover, decide: Decide<'remove', string>): ObjectRemover {
  const { once } = failing(decide, () => new DaybookError('store_unavailable', { detail: 'injected' }));
  return { remove: (key) => once('remove', key, () => remover.remove(key)), close: () => remover.close() };
}

/** The subject is the records; none for `probe`. A fault leaves all of a call's records unacknowledged. */
export function faultyWriter(
  writer: EventStreamWriter,
  decide: Decide<WriterOperation, readonly AppendRecord[]>,
): EventStreamWriter {
  const { once } = failing(
    decide,
    (records) => new AppendError([...records.keys()], { detail: 'injected', retry: true }),
  );
  return {
    maxValueBytes: writer.maxValueBytes,
    append: (records) => once('append', records, () => writer.append(records)),
    probe: () => once('probe', [], () => writer.probe()),
    prove: () => writer.prove(),
    close: () => writer.close(),
  };
}

/** The subject is the partition; those of `commit`, joined by commas; '' for `committed` and `snapshot`. */
export function faultyReader(reader: EventStreamReader, decide: Decide<ReaderOperation, string>): EventStreamReader {
  const { once, each } = failing(decide, () => new DaybookError('stream_unavailable', { detail: 'injected' }));
  return {
    committed: () => once('committed', '', () => reader.committed()),
    snapshot: () => once('snapshot', '', () => reader.snapshot()),
    read: (partition, from, snapshot) => each('read', partition, () => reader.read(partition, from, snapshot)),
    recordBefore: (partition, cursor) => once('recordBefore', partition, () => reader.recordBefore(partition, cursor)),
    commit: (positions, notes) =>
      once('commit', [...positions.keys()].join(','), () => reader.commit(positions, notes)),
    close: () => reader.close(),
  };
}

function failing<Operation extends string, Subject>(
  decide: Decide<Operation, Subject>,
  errorOf: (subject: Subject) => DaybookError,
) {
  const calls = new Map<Operation, number>();
  const faultOf = (operation: Operation, subject: Subject): Fault => {
    const call = (calls.get(operation) ?? 0) + 1;
    calls.set(operation, call);
    return decide(operation, subject, call);
  };
  return {
    async once<T>(operation: Operation, subject: Subject, call: () => Promise<T>): Promise<T> {
      const fault = faultOf(operation, subject);
      if (fault === 'before') throw errorOf(subject);
      const result = await call();
      if (fault === 'after') throw errorOf(subject);
      return result;
    },
    async *each<T>(operation: Operation, subject: Subject, call: () => AsyncIterable<T>): AsyncGenerator<T> {
      const fault = faultOf(operation, subject);
      if (fault === 'before') throw errorOf(subject);
      const endsWell = () => {
        if (fault === 'after') throw errorOf(subject);
      };
      try {
        yield* call();
      } finally {
        // Also where no more is asked for.
        endsWell();
      }
    },
  };
}
