/**
 * The bodies that are not whole yet. Nobody has proven who sends them, so what they hold together is bounded, and where
 * it is used up the heaviest are cut until there is room again. A body weighs what it holds, times how long it has been
 * coming, times what all bodies of its peer hold: whoever keeps much for long goes first, wherever it comes from, and a
 * sender that sends at once what it has gets through, also where all come by one proxy.
 */

/** For the request, its response and its connection, beside the bytes that came. */
const requestBytes = 16 * 1024;

export interface UnfinishedBody {
  readonly address: string | undefined;
  readonly sinceMs: number;
  heldBytes: number;
  readonly cut: () => void;
}

export interface UnfinishedBodies {
  /** `cut` is called at most once, and not after `end`. It may be called at once. */
  begin(address: string | undefined, headerBytes: number, cut: () => void): UnfinishedBody;
  /** The body holds so many bytes more. Cuts bodies where that is too much, perhaps this one. */
  hold(body: UnfinishedBody, bytes: number): void;
  /** It is whole, or given up. May be called again. */
  end(body: UnfinishedBody): void;
  heldBytes(): number;
}

export function openUnfinishedBodies(maxBytes: number, now = () => performance.now()): UnfinishedBodies {
  const bodies = new Set<UnfinishedBody>();
  let heldBytes = 0;

  function end(body: UnfinishedBody): void {
    if (bodies.delete(body)) heldBytes -= body.heldBytes;
  }

  function hold(body: UnfinishedBody, bytes: number): void {
    if (!bodies.has(body)) return;
    body.heldBytes += bytes;
    heldBytes += bytes;
    if (heldBytes > maxBytes) makeRoom();
  }

  /** An eighth at once, so that not each chunk of a flood weighs them all. */
  function makeRoom(): void {
    const nowMs = now();
    const held = [...bodies].map((body) => ({ body, peer: peerOf(body.address), weight: 0 }));
    const heldByPeer = new Map<string, number>();
    for (const { body, peer } of held) heldByPeer.set(peer, (heldByPeer.get(peer) ?? 0) + body.heldBytes);
    for (const each of held) {
      const { heldBytes, sinceMs } = each.body;
      each.weight = heldBytes * Math.max(1, nowMs - sinceMs) * heldByPeer.get(each.peer)!;
    }
    for (const { body } of held.sort((a, b) => b.weight - a.weight)) {
      if (heldBytes <= maxBytes * (7 / 8)) return;
      end(body);
      body.cut();
    }
  }

  return {
    begin(address, headerBytes, cut) {
      const body = { address, sinceMs: now(), heldBytes: 0, cut };
      bodies.add(body);
      hold(body, requestBytes + headerBytes);
      return body;
    },
    hold,
    end,
    heldBytes: () => heldBytes,
  };
}

/** Who may be one sender: an IPv4 address, or the 64 bits of an IPv6 address that stand for one network. */
export function peerOf(address = ''): string {
  // Also one that is an IPv4 address in IPv6's form.
  if (address.includes('.')) return address.slice(address.lastIndexOf(':') + 1);
  const [front = '', back] = address.split('%')[0]!.split('::');
  const groups = front === '' ? [] : front.split(':');
  if (back !== undefined) {
    const behind = back === '' ? 0 : back.split(':').length;
    while (groups.length < Math.min(4, 8 - behind)) groups.push('0');
    groups.push(...back.split(':'));
  }
  return groups.slice(0, 4).join(':');
}
