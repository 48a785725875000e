/** Where a server listens, told to the program that started it. */
export interface Listening {
  /** An address, not a name. */
  readonly host: string;
  /** The real one, also where 0 was asked for. */
  readonly port: number;
}

/** Sends it over IPC, as one message. Where nobody started this process over IPC, or is gone, nothing happens. */
export function tellListening({ host, port }: Listening): void {
  process.send?.({ host, port } satisfies Listening, undefined, undefined, () => {});
}

/** A base URL that a client on the same machine reaches it by. */
export function urlOf({ host, port }: Listening): string {
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${local.includes(':') ? `[${local}]` : local}:${port}`;
}
