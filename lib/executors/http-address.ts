import { lookup as resolveName } from "node:dns/promises";
import { isIP } from "node:net";
import { ipRangeList } from "#lib/domain/ip-range.ts";
import { PRIVATE_RANGES } from "./private-ranges.ts";

/**
 * Which addresses a task's request may go to. A worker stands inside somebody's network, and a URL may come from
 * outside: private addresses are refused, unless the operator allows them. The name is resolved once and the
 * connection goes to the address that was checked, so that a second answer of the name server changes nothing.
 */

const PRIVATE = ipRangeList(PRIVATE_RANGES.map(({ range }) => range));

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
