import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterAll, beforeAll } from "vitest";
import type { TestDatabase } from "./database.ts";

export type SeenRequest = { path: string; headers: IncomingMessage["headers"]; body: string };

/** What executors reach out to: a server for requests, and a Postgres. */
export type World = {
  /**
   * `/ok` answers what it was sent as JSON, `/status/503` with that status and the words "refused here: " before the path, `/large` with two
   * megabytes, `/hang` never.
   */
  url: string;
  requests: SeenRequest[];
  /** Resolves with the next request to a path that begins so. */
  nextRequest(path: string): Promise<SeenRequest>;
  /** Resolves when no connection to the server is open. */
  noConnections(): Promise<void>;
  databaseUrl: string;
  /** True while this backend of the database serves a connection. */
  isConnected(pid: number): Promise<boolean>;
};

const TWO_MEGABYTES = "x".repeat(2_000_000);

/** A world for the tests of one file. */
export function testWorld(database: TestDatabase): World {
  const world = { requests: [] as SeenRequest[] } as unknown as World;
  const waiting = new Set<(request: SeenRequest) => void>();
  const sockets = new Set<Socket>();
  let server: Server;

  beforeAll(async () => {
    server = createServer((request, response) => {
      let body = "";
      request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      request.on("end", () => {
        const seen = { path: request.url!, headers: request.headers, body };
        world.requests.push(seen);
        for (const hear of waiting) hear(seen);
        answer(seen, response);
      });
    });
    server.on("connection", (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    Object.assign(world, {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      databaseUrl: database.url,
      nextRequest: (path) =>
        new Promise((resolve) => {
          const hear = (request: SeenRequest): void => {
            if (!request.path.startsWith(path)) return;
            waiting.delete(hear);
            resolve(request);
          };
          waiting.add(hear);
        }),
      async noConnections() {
        await Promise.all([...sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve))));
      },
      async isConnected(pid) {
        const { rowCount } = await database.pool.query("select from pg_stat_activity where pid = $1", [pid]);
        return rowCount === 1;
      },
    } satisfies Partial<World>);
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return world;
}

function answer({ path, headers, body }: SeenRequest, response: ServerResponse): void {
  const [, route, argument] = path.split("/");
  if (route === "hang") return;
  if (route === "status") response.writeHead(Number(argument)).end(`refused here: ${path}`);
  else if (route === "large") response.end(TWO_MEGABYTES);
  else response.setHeader("content-type", "application/json").end(JSON.stringify({ path, headers, body }));
}
