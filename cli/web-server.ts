import { subscribe } from "node:diagnostics_channel";
import { type IncomingMessage, request, Server, type ServerResponse, STATUS_CODES } from "node:http";
import { BlockList } from "node:net";
import { sayReady, stopOnDisconnect } from "#worker/lifecycle.ts";

/** Requests get this long to end; event streams never end by themselves. */
const DRAIN_MS = 1_000;

/** Reports when Next's server answers, and stops it in order: Next hands out neither the server nor the moment. */
export function superviseWebServer(): void {
  let server: Server | undefined;
  let stopping = false;
  subscribe("tracing:net.server.listen:asyncEnd", (message) => {
    if (server !== undefined || typeof message !== "object" || message === null || !("server" in message)) return;
    if (!(message.server instanceof Server)) return;
    server = message.server;
    guardRequests(server);
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

/** Reverse proxies stand on this machine or in a private network; nobody else may speak for a client's address. */
const PROXIES = new BlockList();
PROXIES.addSubnet("127.0.0.0", 8);
PROXIES.addSubnet("10.0.0.0", 8);
PROXIES.addSubnet("172.16.0.0", 12);
PROXIES.addSubnet("192.168.0.0", 16);
PROXIES.addAddress("::1", "ipv6");
PROXIES.addSubnet("fc00::", 7, "ipv6");

/** Answers what Next would stumble over, and sees to it that the last forwarded address is one we believe. */
function guardRequests(server: Server): void {
  const next = server.listeners("request");
  server.removeAllListeners("request");
  server.on("request", (incoming: IncomingMessage, response: ServerResponse) => {
    const refused = refusal(incoming);
    if (refused !== undefined) return refuse(response, refused.status, refused.detail);
    const peer = incoming.socket.remoteAddress ?? "unknown";
    const isProxy = PROXIES.check(peer.replace(/^::ffff:/, ""), peer.includes(".") ? "ipv4" : "ipv6");
    if (!isProxy || incoming.headers["x-forwarded-for"] === undefined) incoming.headers["x-forwarded-for"] = peer;
    for (const listener of next) listener.call(server, incoming, response);
  });
}

function refusal({ method, url }: IncomingMessage): { status: number; detail: string } | undefined {
  if (!METHODS.has(method ?? "")) return { status: 405, detail: "This method is not supported." };
  try {
    decodeURIComponent((url ?? "").split("?", 1)[0]!);
    return undefined;
  } catch {
    return { status: 400, detail: "The address holds a malformed % escape." };
  }
}

function refuse(response: ServerResponse, status: number, detail: string): void {
  const body = { type: "about:blank", title: STATUS_CODES[status], status, detail, code: "invalid_request" };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(body));
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
