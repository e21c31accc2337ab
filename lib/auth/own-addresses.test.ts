import { describe, expect, test } from "vitest";
import { ownAddresses } from "./own-addresses.ts";

const own = ownAddresses(["https://sluice.example", "http://web:8080"]);

describe("the host of a request", () => {
  test.each([
    ["sluice.example", undefined],
    ["SLUICE.example:443", undefined],
    // A proxy may ask by any port: what another page can choose is a name.
    ["web", undefined],
    ["localhost:18080", undefined],
    ["127.0.0.1:8080", undefined],
    ["127.9.9.9", undefined],
    ["[::1]:8080", undefined],
    ["10.1.2.3:8080", "::ffff:10.1.2.3"],
    ["10.1.2.3:8080", "10.1.2.3"],
    ["[fe80::1]:8080", "fe80:0::1%eth0"],
  ])("%s at %s is ours", (host, localAddress) => {
    expect(own.isOwnHost(host, localAddress)).toBe(true);
  });

  test.each([
    "evil.example",
    "sluice.example.evil.example",
    "localhost.evil.example",
    "localhost.",
    "127.0.0.1.evil.example",
    "x.localhost",
    "10.1.2.4:8080",
    "[::2]",
    "sluice.example@evil.example",
    "sluice.example/",
    "sluice.example:80:80",
    "sluice.example, evil.example",
    "",
    undefined,
  ])("%s is not", (host) => {
    expect(own.isOwnHost(host, "10.1.2.3")).toBe(false);
  });
});

describe("the origin of a request", () => {
  test.each([
    ["https://sluice.example", "sluice.example"],
    // Behind a proxy that asks by a name of its own.
    ["https://sluice.example", "127.0.0.1:8080"],
    ["http://web:8080", "web:8080"],
    ["http://localhost:8080", "localhost:8080"],
    ["http://127.0.0.1", "127.0.0.1:80"],
    ["http://[::1]:8080", "[::1]:8080"],
    ["http://10.1.2.3:8080", "10.1.2.3:8080"],
  ])("%s is ours at %s", (origin, host) => {
    expect(own.isOwnOrigin(origin, host)).toBe(true);
  });

  test.each([
    ["http://sluice.example", "sluice.example"],
    ["https://sluice.example:8443", "sluice.example:8443"],
    ["https://web:8080", "web:8080"],
    ["http://web:9090", "web:9090"],
    ["https://localhost:8080", "localhost:8080"],
    ["http://localhost:3000", "localhost:8080"],
    ["http://127.0.0.1:8080", "localhost:8080"],
    ["http://evil.example", "evil.example"],
    ["http://evil.example:8080", "localhost:8080"],
    ["null", "localhost:8080"],
    ["", "localhost:8080"],
    ["file://", "localhost:8080"],
    ["http://localhost:8080/", "localhost:8080"],
  ])("%s is not at %s", (origin, host) => {
    expect(own.isOwnOrigin(origin, host)).toBe(false);
  });
});
