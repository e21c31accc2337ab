import { BlockList, isIP } from "node:net";

/** True for the text of an address, or of a range of them like `10.0.0.0/8`. */
export function isIpRange(text: string): boolean {
  const [address, prefix, ...rest] = text.split("/") as [string, string | undefined, ...string[]];
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 6 ? 128 : 32));
}

/** Matches the addresses of these ranges (see `isIpRange`), also an IPv4 address that is written as IPv6. */
export function ipRangeList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address, prefix] = range.split("/") as [string, string | undefined];
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    list.addSubnet(address, Number(prefix ?? (family === "ipv6" ? 128 : 32)), family);
  }
  return list;
}

/** What stands for one client in counts: an IPv6 address for its /64, which one customer has whole. */
export function clientNetwork(address: string): string {
  if (isIP(address) !== 6 || address.includes(".")) return address;
  const [head, tail] = address.split("%")[0]!.split("::") as [string, string | undefined];
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => "0");
  const groups = [...before, ...zeros, ...after].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${groups.join(":")}::/64`;
}
