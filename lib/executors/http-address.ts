import { lookup as resolveName } from "node:dns/promises";
import { isIP } from "node:net";
import { ipRangeList } from "#lib/domain/ip-range.ts";

/**
 * Which addresses a task's request may go to. A worker stands inside somebody's network, and a URL may come from
 * outside: private addresses are refused, unless the operator allows them. The name is resolved once and the
 * connection goes to the address that was checked, so that a second answer of the name server changes nothing.
 */

/**
 * Not reachable from the public Internet (IANA special-purpose registries), or able to carry such an address. An IPv4
 * address written as IPv6 (::ffff:127.0.0.1) is matched by the IPv4 ranges.
 */
const PRIVATE_RANGES = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  // Azure's host agent: public by its number, and reachable from every virtual machine there.
  "168.63.129.16/32",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "::/96",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "100::/64",
  "2001::/23",
  "2001:db8::/32",
  "2002::/16",
  "3fff::/20",
  "5f00::/16",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
];

const PRIVATE = ipRangeList(PRIVATE_RANGES);

export type Address = { address: string; family: 4 | 6 };
export type Resolve = (host: string) => Promise<Address[]>;

const resolveHost: Resolve = async (host) =>
  (await resolveName(host, { all: true })).map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }));

export type AddressGuard = {
  /** The address to connect to; undefined when one of the host's addresses is refused. Rejects when it has none. */
  addressOf(host: string): Promise<Address | undefined>;
};

/** `allowed` are ranges that may be reached although they are private. */
export function createAddressGuard(allowed: readonly string[], resolve: Resolve = resolveHost): AddressGuard {
  const exempt = ipRangeList(allowed);
  const isAllowed = ({ address, family }: Address): boolean => {
    const kind = family === 6 ? "ipv6" : "ipv4";
    return !PRIVATE.check(address, kind) || exempt.check(address, kind);
  };
  return {
    async addressOf(host) {
      const bare = host.replace(/^\[(.*)\]$/, "$1");
      const family = isIP(bare);
      const found =
        family === 0 ? await resolve(bare) : [{ address: bare, family: family === 6 ? (6 as const) : (4 as const) }];
      // A name with one good and one bad address is somebody's trick.
      return found.every(isAllowed) ? found[0] : undefined;
    },
  };
}
