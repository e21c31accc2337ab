import { expect, test } from "vitest";
import { clientNetwork, ipRangeList, isIpRange } from "./ip-range.ts";

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["::ffff:192.0.2.7", "::ffff:192.0.2.7"],
  ["unknown", "unknown"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:DB8:1:2::1", "2001:db8:1:2::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["::", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
])("the client %s counts as %s", (address, network) => {
  expect(clientNetwork(address)).toBe(network);
});

test("ranges match what is in them, and nothing without a range", () => {
  const list = ipRangeList(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]);
  expect([list.check("10.9.8.7"), list.check("::ffff:10.9.8.7", "ipv6"), list.check("192.0.2.1")]).toEqual([
    true,
    true,
    true,
  ]);
  expect([list.check("192.0.2.2"), list.check("2001:db9::1", "ipv6"), ipRangeList([]).check("127.0.0.1")]).toEqual([
    false,
    false,
    false,
  ]);
  expect([isIpRange("10.0.0.0/8"), isIpRange("10.0.0.0/33"), isIpRange("10.0.0.0/8/8"), isIpRange("ten")]).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
