import { subscribe } from "node:diagnostics_channel";
import { type IncomingMessage, request, Server, type ServerResponse } from "node:http";
import { sayReady, stopOnDisconnect } from "#worker/lifecycle.ts";
import { refuse, type RequestGuard } from "./request-guard.ts";

/** Requests get this long to end; event streams never end by themselves. */
const DRAIN_MS = 1_000;

/** Reports when Next's server answers, and stops it in order: Next hands out neither the server nor the moment. */
export function superviseWebServer(guard: RequestGuard): void {
  let server: Server | undefined;
  let stopping = false;
  subscribe("tracing:net.server.listen:asyncEnd", (message) => {
    if (server !== undefined || typeof message !== "object" || message === null || !("server" in message)) return;
    if (!(message.server instanceof Server)) return;
    server = message.server;
    guardRequests(server, guard);
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

/** Puts the guard before Next. */
function guardRequests(server: Server, guard: RequestGuard): void {
  // Nothing here is upgraded. Next would pass the guard by and keep each such connection open for ever; without a listener, whenever
  // it is added, it is a request like any other.
  server.removeAllListeners("upgrade");
  server.on("newListener", (event, listener) => {
    if (event === "upgrade") queueMicrotask(() => server.removeListener("upgrade", listener as () => void));
  });
  const next = server.listeners("request");
  server.removeAllListeners("request");
  server.on("request", (incoming: IncomingMessage, response: ServerResponse) => {
    for (const [name, value] of Object.entries(guard.headers)) response.setHeader(name, value);
    const refusal = guard.refusal(incoming);
    if (refusal !== undefined) return refuse(incoming, response, refusal);
    guard.nameClient(incoming);
    for (const listener of next) listener.call(server, incoming, response);
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
