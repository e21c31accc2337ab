import type { IncomingMessage, ServerResponse } from "node:http";
import { STATUS_CODES } from "node:http";
import { type OwnAddresses, ownAddresses } from "#lib/auth/own-addresses.ts";
import { ipRangeList } from "#lib/domain/ip-range.ts";
import type { Settings } from "#lib/env.ts";

export type Refusal = { status: number; detail: string };

/** Looks at each request of the web process before anything else does. */
export type RequestGuard = {
  /** Why a request is refused; undefined for one that may go on. */
  refusal(incoming: IncomingMessage): Refusal | undefined;
  /** Makes the last address of X-Forwarded-For the peer's own, unless the peer is a proxy that an operator has named. */
  nameClient(incoming: IncomingMessage): void;
  /** Headers that every response gets. */
  headers: Readonly<Record<string, string>>;
};

/** A browser that was here once asks by https for so long, whatever a network or a link says. */
const HSTS_SECONDS = 365 * 24 * 60 * 60;

/** The guard of a web process with these settings. */
export function requestGuard(settings: Pick<Settings, "trustedProxies" | "url" | "otherUrls">): RequestGuard {
  const proxies = ipRangeList(settings.trustedProxies);
  const own = ownAddresses([settings.url, ...settings.otherUrls]);
  const isHttps = new URL(settings.url).protocol === "https:";
  return {
    refusal(incoming) {
      const { method = "", url = "/", headers } = incoming;
      if (!METHODS.has(method)) return { status: 405, detail: "This method is not supported." };
      const [path = "/"] = url.split("?", 1);
      const query = url.slice(path.length);
      return (
        badPath(path) ?? badQuery(query) ?? badHost(incoming, own) ?? badOrigin(incoming, own) ?? badBody(path, headers)
      );
    },
    nameClient({ socket, headers }) {
      const peer = socket.remoteAddress ?? "unknown";
      const isProxy = proxies.check(peer.replace(/^::ffff:/, ""), peer.includes(".") ? "ipv4" : "ipv6");
      if (!isProxy || headers["x-forwarded-for"] === undefined) headers["x-forwarded-for"] = peer;
    },
    headers: isHttps ? { "strict-transport-security": `max-age=${HSTS_SECONDS}` } : {},
  };
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const READING = new Set(["GET", "HEAD", "OPTIONS"]);

/** A segment that is taken out of a path, or the one before it. */
const DOTS = /^(?:\.|%2e){1,2}$/i;

/** What is decided here must be of the path that is served: others take dots apart before they look. */
function badPath(path: string): Refusal | undefined {
  if (!path.startsWith("/") || path.includes("\\") || path.split("/").some((part) => DOTS.test(part)))
    return { status: 400, detail: "The address must be a path without the segments . and .. and without \\." };
  try {
    decodeURIComponent(path);
    return undefined;
  } catch {
    return { status: 400, detail: "The address holds a malformed % escape." };
  }
}

/** Next takes seconds of the event loop for a query of six thousand parameters, and no page and no operation has ten. */
const MAX_PARAMETERS = 64;
const MAX_QUERY = 4_096;

function badQuery(query: string): Refusal | undefined {
  if (query.length <= MAX_QUERY && query.split("&").length <= MAX_PARAMETERS) return undefined;
  return {
    status: 414,
    detail: `A query may have at most ${MAX_QUERY} characters and ${MAX_PARAMETERS} parameters.`,
  };
}

function badHost({ headers, socket }: IncomingMessage, own: OwnAddresses): Refusal | undefined {
  if (own.isOwnHost(headers.host, socket.localAddress)) return undefined;
  const host = JSON.stringify((headers.host ?? "").slice(0, 100));
  const detail = `This server is not asked by the host ${host}. Its address belongs into SLUICE_URL, further ones into SLUICE_OTHER_URLS.`;
  return { status: 421, detail };
}

/** A cookie is sent by any page's form: what changes something must come from a page of our own, or from no page. */
function badOrigin({ method = "", headers }: IncomingMessage, own: OwnAddresses): Refusal | undefined {
  if (READING.has(method)) return undefined;
  const { origin, host } = headers;
  const site = headers["sec-fetch-site"];
  const isOwn =
    (origin === undefined || own.isOwnOrigin(origin, host)) &&
    (site === undefined || site === "same-origin" || site === "none");
  const detail = `A change must come from a page of this server: its address is in SLUICE_URL or SLUICE_OTHER_URLS, with scheme and port.`;
  return isOwn ? undefined : { status: 403, detail };
}

/** Longest body, by the beginning of a path: it is counted here, before anything parses it. */
const MAX_BODY_BYTES = [
  // A name and a password; the parser of forms takes time that grows with the square of their length.
  { path: "/api/auth/", bytes: 16 * 1024 },
  { path: "/", bytes: 1024 * 1024 },
] as const;

/** The API counts what comes without a length as it reads. Nothing else needs such a body. */
const COUNTS_ITSELF = "/api/v1/";

function badBody(path: string, headers: IncomingMessage["headers"]): Refusal | undefined {
  const { bytes } = MAX_BODY_BYTES.find((limit) => path.startsWith(limit.path))!;
  if (Number(headers["content-length"] ?? 0) > bytes)
    return { status: 413, detail: `A body may have at most ${bytes} bytes here.` };
  if (headers["transfer-encoding"] !== undefined && !path.startsWith(COUNTS_ITSELF))
    return { status: 411, detail: "Send the length of the body (Content-Length)." };
  return undefined;
}

const CODES: Record<number, string> = { 403: "forbidden", 413: "payload_too_large" };

/** A client that still sends would not read why it is refused: so much of its body is read and forgotten first. */
const FORGOTTEN_BYTES = 16 * 1024 * 1024;

/** Sends a refusal, as a problem document. */
export function refuse(incoming: IncomingMessage, response: ServerResponse, { status, detail }: Refusal): void {
  const code = CODES[status] ?? "invalid_request";
  const body = { type: "about:blank", title: STATUS_CODES[status], status, detail, code };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(body));
  let left = FORGOTTEN_BYTES;
  incoming.on("data", ({ length }: Buffer) => {
    if ((left -= length) < 0) incoming.destroy();
  });
}
