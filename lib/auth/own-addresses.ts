import { isIP } from "node:net";

/**
 * Under which addresses this server may be asked, and from whose pages it may be changed. A page of somebody else can have its own
 * name lead here (DNS rebinding): so a name counts only when an operator has said it, or when it is this machine's own.
 */
export type OwnAddresses = {
  /** `host` is a request's Host, `localAddress` the address of this machine that the connection came to. */
  isOwnHost(host: string | undefined, localAddress: string | undefined): boolean;
  /** Whether a page of `origin` (scheme, host and port) is one of ours, in a request to `host`. */
  isOwnOrigin(origin: string, host: string | undefined): boolean;
};

/** `urls` are those an operator has named: the public one and others. */
export function ownAddresses(urls: readonly string[]): OwnAddresses {
  const named = urls.map((url) => new URL(url));
  const names = new Set(named.map(({ hostname }) => hostname));
  const origins = new Set(named.map(({ origin }) => origin));
  return {
    isOwnHost(host, localAddress) {
      const name = parseHost(host)?.hostname;
      if (name === undefined) return false;
      return names.has(name) || isLoopback(name) || unbracketed(name) === plainAddress(localAddress);
    },
    isOwnOrigin(origin, host) {
      if (origins.has(origin)) return true;
      // Asked by this machine's own names, the server speaks plain HTTP, and its pages are of just that address.
      const here = parseHost(host);
      return here !== undefined && isNoName(here.hostname) && origin === here.origin;
    },
  };
}

const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

function parseHost(host: string | undefined): URL | undefined {
  return host !== undefined && HOST.test(host) ? (URL.parse(`http://${host}`) ?? undefined) : undefined;
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || (isIP(hostname) === 4 && hostname.startsWith("127."));
}

/** No name server has a say in it. */
function isNoName(hostname: string): boolean {
  return isLoopback(hostname) || isIP(unbracketed(hostname)) !== 0;
}

function unbracketed(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

/** As a URL writes it: an IPv4 address of a socket for both families is an IPv4 address. */
function plainAddress(address: string | undefined): string | undefined {
  const [plain = ""] = (address ?? "").replace(/^::ffff:(?=\d+\.)/, "").split("%");
  if (isIP(plain) === 6) return unbracketed(new URL(`http://[${plain}]`).hostname);
  return isIP(plain) === 4 ? plain : undefined;
}
