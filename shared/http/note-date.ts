/** The date of the last answer that a client of the AWS SDK got, of refusals too. */
import type { KinesisClient } from '@aws-sdk/client-kinesis';

/** A date that a server gave, and when it came by this machine's clock, in epoch milliseconds. */
export interface DatedAnswer {
  readonly date: string | undefined;
  readonly receivedAtMs: number;
}

export function noteDate(client: { readonly middlewareStack: unknown }): () => DatedAnswer {
  let seen: DatedAnswer = { date: undefined, receivedAtMs: 0 };
  const note = (response: unknown) => {
    const date = (response as { headers?: Record<string, string> } | undefined)?.headers?.date;
    if (date !== undefined) seen = { date, receivedAtMs: Date.now() };
  };
  // All clients have the same stack, each with the types of its own requests.
  (client.middlewareStack as KinesisClient['middlewareStack']).add(
    (next) => async (request) => {
      try {
        const result = await next(request);
        note(result.response);
        return result;
      } catch (error) {
        note((error as { $response?: unknown }).$response);
        throw error;
      }
    },
    { step: 'deserialize', priority: 'high', name: 'noteDate' },
  );
  return () => seen;
}
