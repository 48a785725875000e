/** Lists of IP addresses and ranges: who may call, and which proxies are believed. */
import { BlockList, isIP } from 'node:net';
import { z } from 'zod';

/** An IPv4 or IPv6 address, or a range of them in CIDR form. */
export const addressRange = z
  .string()
  .refine((text) => partsOf(text) !== undefined, 'is neither an IP address nor a CIDR range such as 192.0.2.0/24');

/**
 * Whether an address is on the list. An IPv4 address is the same written as IPv6 (`::ffff:192.0.2.7`), as sockets that take
 * both tell it. What is not an address, as a header may hold it, is on no list. About 0.4 µs a call.
 */
export function addressList(ranges: readonly string[]): (address: string | undefined) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const { address, prefix, family } = partsOf(range)!;
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, prefix, family);
  }
  return (address = '') => {
    const family = familyOf(address);
    return family !== undefined && list.check(address, family);
  };
}

type Family = 'ipv4' | 'ipv6';

/** Undefined where the text is none. A prefix of 0 would be everybody, which is said by having no list. */
function partsOf(text: string): { address: string; prefix: number | undefined; family: Family } | undefined {
  const [address = '', written, ...more] = text.split('/');
  const family = familyOf(address);
  // A zone (fe80::1%eth0) is a name of one machine's own.
  if (family === undefined || address.includes('%') || more.length > 0) return undefined;
  if (written === undefined) return { address, prefix: undefined, family };
  if (!/^[1-9]\d{0,2}$/.test(written) || Number(written) > (family === 'ipv4' ? 32 : 128)) return undefined;
  return { address, prefix: Number(written), family };
}

function familyOf(address: string): Family | undefined {
  const version = isIP(address);
  return version === 0 ? undefined : version === 4 ? 'ipv4' : 'ipv6';
}
