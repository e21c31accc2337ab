import { isIP } from "node:net";
import { expect, test } from "vitest";
import { createAddressGuard } from "./http-address.ts";
import { PRIVATE_RANGES } from "./private-ranges.ts";

const guard = createAddressGuard([]);
const isRefused = async (address: string): Promise<boolean> => (await guard.addressOf(address)) === undefined;

/** An address as a number, and back: apart from the library that matches ranges. */
function numberOf(address: string): bigint {
  if (isIP(address) === 4) return address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head, tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::") as [string, string?];
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].reduce((sum, part) => sum * 65_536n + BigInt(`0x${part}`), 0n);
}

function addressOf(number: bigint, family: number): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((number >> shift) & 255n)).join(".");
  return Array.from({ length: 8 }, (_, n) => ((number >> BigInt(112 - 16 * n)) & 65_535n).toString(16)).join(":");
}

const bounds = PRIVATE_RANGES.map(({ range }) => {
  const [address, prefix] = range.split("/") as [string, string];
  const family = isIP(address);
  const first = numberOf(address);
  const size = 1n << BigInt((family === 4 ? 32 : 128) - Number(prefix));
  return { range, family, first, last: first + size - 1n };
});
/** IPv4 written as IPv6 is matched as IPv4, wherever it lies among the numbers of IPv6. */
const MAPPED = { first: numberOf("::ffff:0:0"), last: numberOf("::ffff:ffff:ffff") };

test.each(bounds)("$range is refused from its first address to its last", async ({ family, first, last }) => {
  for (const number of [first, last, (first + last) / 2n])
    expect(await isRefused(addressOf(number, family)), addressOf(number, family)).toBe(true);
});

test.each(bounds)(
  "what lies beside $range is refused for a reason of its own only",
  async ({ family, first, last }) => {
    for (const number of [first - 1n, last + 1n]) {
      if (number < 0n || number >= 1n << (family === 4 ? 32n : 128n)) continue;
      if (family === 6 && number >= MAPPED.first && number <= MAPPED.last) continue;
      const isInAnother = bounds.some(
        (other) => other.family === family && other.first <= number && number <= other.last,
      );
      expect(await isRefused(addressOf(number, family)), addressOf(number, family)).toBe(isInAnother);
    }
  },
);

test.each(bounds.filter(({ family }) => family === 4))(
  "$range is refused in each form of IPv6 that carries it",
  async ({ first }) => {
    const plain = addressOf(first, 4);
    const hex = addressOf(first, 6).split(":").slice(6).join(":");
    for (const address of [
      `::ffff:${plain}`,
      `::${plain}`,
      `64:ff9b::${plain}`,
      `64:ff9b:1::${plain}`,
      `::ffff:0:${plain}`,
      `2002:${hex}::1`,
    ])
      expect(await isRefused(address), address).toBe(true);
  },
);

/** Where machines in a cloud ask for credentials. */
const METADATA = {
  "AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, Hetzner": "169.254.169.254",
  "AWS, of tasks": "169.254.170.2",
  "AWS, of pods": "169.254.170.23",
  "AWS by IPv6": "fd00:ec2::254",
  "AWS by IPv6, of pods": "fd00:ec2::23",
  "Google by IPv6": "fd20:ce::254",
  "OpenStack by IPv6": "fe80::a9fe:a9fe",
  "Azure's host agent": "168.63.129.16",
  Alibaba: "100.100.100.200",
  "Oracle, before": "192.0.0.192",
  Tencent: "169.254.0.23",
};

test.each(Object.entries(METADATA))("metadata of %s (%s) are refused", async (_, address) => {
  expect(await isRefused(address)).toBe(true);
});
