import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { Service } from "./lifecycle.ts";

export type DutyReport = { name: string; ok: boolean; ageMs: number; maxAgeMs: number };

export type Duties = {
  /** A duty that must be done at least every `maxAgeMs`; the first time counts from now. */
  register(name: string, maxAgeMs: number): void;
  done(name: string): void;
  report(): DutyReport[];
};

/** What a process must keep doing to count as ready. Time is monotonic: a set clock must not make it late. */
export function createDuties(nowMs: () => number = () => performance.now()): Duties {
  const duties = new Map<string, { maxAgeMs: number; doneAtMs: number }>();
  return {
    register: (name, maxAgeMs) => void duties.set(name, { maxAgeMs, doneAtMs: nowMs() }),
    done: (name) => {
      const duty = duties.get(name);
      if (duty !== undefined) duty.doneAtMs = nowMs();
    },
    report: () =>
      [...duties].map(([name, { maxAgeMs, doneAtMs }]) => {
        const ageMs = Math.round(nowMs() - doneAtMs);
        return { name, ok: ageMs <= maxAgeMs, ageMs, maxAgeMs };
      }),
  };
}

export type HealthOptions = { host: string; port: number; duties: Duties; log: Logger };

/** GET /health (the process answers) and GET /ready (every duty is done in time) for probes. */
export function healthService(options: HealthOptions): Service {
  let server: Server | undefined;
  return {
    name: "health",
    start: async () => {
      if (server !== undefined) return;
      const created = createServer((request, response) => {
        answer(options.duties, request.url ?? "", response);
      });
      created.listen(options.port, options.host);
      await once(created, "listening");
      server = created;
      const address = created.address();
      const port = typeof address === "object" && address !== null ? address.port : options.port;
      options.log.info({ port }, "health server listens");
    },
    stop: async () => {
      if (server === undefined) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      server = undefined;
    },
  };
}

function answer(duties: Duties, url: string, response: ServerResponse): void {
  const path = url.split("?")[0];
  if (path === "/health") return send(response, 200, { status: "ok" });
  if (path !== "/ready") return send(response, 404, { status: "not_found" });
  const report = duties.report();
  const ready = report.every((duty) => duty.ok);
  send(response, ready ? 200 : 503, { status: ready ? "ok" : "unavailable", duties: report });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
