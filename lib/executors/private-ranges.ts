/** Addresses that a task may not reach, with what they are and where it is written. */
export type PrivateRange = { range: string; what: string; source: string };

const IANA_4 = "https://www.iana.org/assignments/iana-ipv4-special-registry";
const IANA_6 = "https://www.iana.org/assignments/iana-ipv6-special-registry";

/**
 * What the registries of special addresses call not reachable from the public Internet; what may carry such an address; and addresses
 * that clouds have given to their own services. An IPv4 address written as IPv6 (::ffff:127.0.0.1) is matched by the ranges of IPv4.
 */
export const PRIVATE_RANGES: readonly PrivateRange[] = [
  { range: "0.0.0.0/8", what: "this network", source: IANA_4 },
  { range: "10.0.0.0/8", what: "private use", source: IANA_4 },
  { range: "100.64.0.0/10", what: "shared by customers of a carrier; Alibaba's metadata are here", source: IANA_4 },
  { range: "127.0.0.0/8", what: "loopback", source: IANA_4 },
  {
    range: "168.63.129.16/32",
    what: "Azure's host agent: public by its number, and reachable from every virtual machine there",
    source: "https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16",
  },
  { range: "169.254.0.0/16", what: "link-local; metadata of most clouds are here", source: IANA_4 },
  { range: "172.16.0.0/12", what: "private use", source: IANA_4 },
  { range: "192.0.0.0/24", what: "protocol assignments; Oracle's metadata have been here", source: IANA_4 },
  { range: "192.0.2.0/24", what: "documentation", source: IANA_4 },
  { range: "192.88.99.0/24", what: "relays of 6to4", source: IANA_4 },
  { range: "192.168.0.0/16", what: "private use", source: IANA_4 },
  { range: "198.18.0.0/15", what: "benchmarks", source: IANA_4 },
  { range: "198.51.100.0/24", what: "documentation", source: IANA_4 },
  { range: "203.0.113.0/24", what: "documentation", source: IANA_4 },
  { range: "224.0.0.0/4", what: "multicast", source: "https://www.rfc-editor.org/rfc/rfc5771" },
  { range: "240.0.0.0/4", what: "reserved, and limited broadcast", source: IANA_4 },
  {
    range: "::/96",
    what: "unspecified, loopback, and IPv4 written as IPv6",
    source: "https://www.rfc-editor.org/rfc/rfc4291",
  },
  { range: "::ffff:0:0:0/96", what: "carries IPv4 (SIIT)", source: "https://www.rfc-editor.org/rfc/rfc2765" },
  { range: "64:ff9b::/96", what: "carries IPv4 (NAT64)", source: IANA_6 },
  { range: "64:ff9b:1::/48", what: "carries IPv4 (NAT64 of one's own)", source: IANA_6 },
  { range: "100::/64", what: "discard", source: IANA_6 },
  { range: "100:0:0:1::/64", what: "dummy prefix", source: IANA_6 },
  { range: "2001::/23", what: "protocol assignments; Teredo carries IPv4", source: IANA_6 },
  { range: "2001:db8::/32", what: "documentation", source: IANA_6 },
  { range: "2002::/16", what: "carries IPv4 (6to4)", source: IANA_6 },
  { range: "3fff::/20", what: "documentation", source: IANA_6 },
  { range: "5f00::/16", what: "segment routing", source: IANA_6 },
  { range: "fc00::/7", what: "unique local; metadata of AWS and Google are here", source: IANA_6 },
  { range: "fe80::/10", what: "link-local", source: IANA_6 },
  { range: "fec0::/10", what: "site-local", source: "https://www.rfc-editor.org/rfc/rfc3879" },
  { range: "ff00::/8", what: "multicast", source: "https://www.rfc-editor.org/rfc/rfc4291" },
];
