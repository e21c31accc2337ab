import { subscribe } from "node:diagnostics_channel";
import { type IncomingMessage, request, Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { BlockList } from "node:net";
import { ipRangeList } from "#lib/domain/ip-range.ts";
import type { Settings } from "#lib/env.ts";
import { sayReady, stopOnDisconnect } from "#worker/lifecycle.ts";

/** Requests get this long to end; event streams never end by themselves. */
const DRAIN_MS = 1_000;

/** Reports when Next's server answers, and stops it in order: Next hands out neither the server nor the moment. */
export function superviseWebServer({ trustedProxies }: Pick<Settings, "trustedProxies">): void {
  let server: Server | undefined;
  let stopping = false;
  subscribe("tracing:net.server.listen:asyncEnd", (message) => {
    if (server !== undefined || typeof message !== "object" || message === null || !("server" in message)) return;
    if (!(message.server instanceof Server)) return;
    server = message.server;
    guardRequests(server, ipRangeList(trustedProxies));
    whenAnswered(server, sayReady);
  });
  const stop = () => {
    if (stopping) return;
    stopping = true;
    if (server === undefined) process.exit(0);
    server.close(() => process.exit(0));
    server.closeIdleConnections();
    setTimeout(() => server?.closeAllConnections(), DRAIN_MS);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  stopOnDisconnect(stop);
  process.stdout.on("error", () => undefined);
  process.stderr.on("error", () => undefined);
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/**
 * Refuses what Next would stumble over. The last address of X-Forwarded-For becomes the peer's own, unless the peer is a proxy that an
 * operator has named.
 */
function guardRequests(server: Server, proxies: BlockList): void {
  const next = server.listeners("request");
  server.removeAllListeners("request");
  server.on("request", (incoming: IncomingMessage, response: ServerResponse) => {
    const refused = refusal(incoming);
    if (refused !== undefined) return refuse(incoming, response, refused.status, refused.detail);
    const peer = incoming.socket.remoteAddress ?? "unknown";
    const isProxy = proxies.check(peer.replace(/^::ffff:/, ""), peer.includes(".") ? "ipv4" : "ipv6");
    if (!isProxy || incoming.headers["x-forwarded-for"] === undefined) incoming.headers["x-forwarded-for"] = peer;
    for (const listener of next) listener.call(server, incoming, response);
  });
}

/** Longest body, by the beginning of a path: it is counted here, before anything parses it. */
const MAX_BODY_BYTES = [
  // A name and a password; the parser of forms takes time that grows with the square of their length.
  { path: "/api/auth/", bytes: 16 * 1024 },
  { path: "/", bytes: 1024 * 1024 },
] as const;

/** A segment that is taken out of a path, or the one before it. */
const DOTS = /^(?:\.|%2e){1,2}$/i;

/** The API counts what comes without a length as it reads. Nothing else needs such a body. */
const COUNTS_ITSELF = "/api/v1/";

function refusal({ method, url = "/", headers }: IncomingMessage): Refusal | undefined {
  if (!METHODS.has(method ?? "")) return { status: 405, detail: "This method is not supported." };
  const [path = "/"] = url.split("?", 1);
  return badPath(path) ?? badQuery(url.slice(path.length)) ?? badBody(path, headers);
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

type Refusal = { status: number; detail: string };

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

function badBody(path: string, headers: IncomingMessage["headers"]): Refusal | undefined {
  const { bytes } = MAX_BODY_BYTES.find((limit) => path.startsWith(limit.path))!;
  if (Number(headers["content-length"] ?? 0) > bytes)
    return { status: 413, detail: `A body may have at most ${bytes} bytes here.` };
  if (headers["transfer-encoding"] !== undefined && !path.startsWith(COUNTS_ITSELF))
    return { status: 411, detail: "Send the length of the body (Content-Length)." };
  return undefined;
}

const CODES: Record<number, string> = { 413: "payload_too_large" };

/** A client that still sends would not read why it is refused: so much of its body is read and forgotten first. */
const FORGOTTEN_BYTES = 16 * 1024 * 1024;

function refuse(incoming: IncomingMessage, response: ServerResponse, status: number, detail: string): void {
  const code = CODES[status] ?? "invalid_request";
  const body = { type: "about:blank", title: STATUS_CODES[status], status, detail, code };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(body));
  let left = FORGOTTEN_BYTES;
  incoming.on("data", ({ length }: Buffer) => {
    if ((left -= length) < 0) incoming.destroy();
  });
}

// Next listens before it can answer and holds requests until then, so the first answer is the moment.
function whenAnswered(server: Server, act: () => void): void {
  const address = server.address();
  if (typeof address !== "object" || address === null) return act();
  const host = { "0.0.0.0": "127.0.0.1", "::": "::1" }[address.address] ?? address.address;
  const probe = request({ host, port: address.port, path: "/_next/static/ready", agent: false }, (response) => {
    response.resume();
    act();
  });
  probe.on("error", act);
  probe.end();
}
