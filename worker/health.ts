import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { DutyMetrics } from "#lib/obs/duty-metrics.ts";
import type { Duties } from "#lib/obs/duties.ts";
import type { Isolated } from "./isolation.ts";
import type { Service } from "./lifecycle.ts";

export type HealthOptions = {
  host: string;
  port: number;
  duties: Duties;
  metrics: DutyMetrics;
  /** Told by /ready beside the duties; a row in quarantine does not make a process unready. */
  quarantined?: () => Readonly<Record<string, number>>;
  /** Told by /ready as well; why this machine cannot isolate is in the log of the start. */
  isolated?: () => Isolated | undefined;
  log: Logger;
};

/**
 * GET /health (the process answers) and GET /ready (every duty is done in time) for probes, GET /metrics for Prometheus.
 * A request starts no work and reads what is in memory. The port is open to everybody who reaches it, so /ready says names
 * and no reasons: those are in the log and in the database (`sluice doctor`).
 */
export function healthService(options: HealthOptions): Service {
  let server: Server | undefined;
  return {
    name: "health",
    start: async () => {
      if (server !== undefined) return;
      const created = createServer((request, response) => {
        answer(options, request.url ?? "", response);
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

function answer(
  { duties, metrics, quarantined, isolated, log }: HealthOptions,
  url: string,
  response: ServerResponse,
): void {
  const path = url.split("?")[0];
  if (path === "/health") return send(response, 200, { status: "ok" });
  if (path === "/metrics") {
    metrics.text().then(
      (text) => response.writeHead(200, { "content-type": metrics.contentType }).end(text),
      (error: unknown) => {
        log.error({ err: error }, "metrics could not be told");
        send(response, 500, { status: "unavailable" });
      },
    );
    return;
  }
  if (path !== "/ready") return send(response, 404, { status: "not_found" });
  const report = duties.report();
  const ready = report.every((duty) => duty.ok);
  send(response, ready ? 200 : 503, {
    status: ready ? "ok" : "unavailable",
    duties: report.map(({ name, ok }) => ({ name, ok })),
    ...(quarantined === undefined ? {} : { quarantined: quarantined() }),
    isolated: isolated?.(),
  });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
