import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import path from "node:path";
import { expect, test } from "@playwright/test";
import { randomOf, randomOfCase } from "../lib/testing/fuzz/random.ts";
import { type Asker, lookAt, requestTo, routePatterns, WORDS } from "../lib/testing/fuzz/requests.ts";
import { KINDS } from "../lib/testing/fuzz/sockets.ts";
import { converse, faultsOf, hostileTo, sessionCookie } from "../lib/testing/fuzz/web.ts";
import { ADMIN_PASSWORD, API_TOKEN } from "./sluice.ts";

/** Of each route, beside those with each word. */
const REQUESTS_PER_ROUTE = 15;
/** Of all kinds and routes together; `npm run fuzz` has as many as one likes. */
const CONVERSATIONS = 400;
const AT_ONCE = 8;
const SEED = 20_261_130;

const { hostname, port } = new URL(process.env.E2E_URL!);

/** The status of the response; 0 when the connection was closed without one. Its body may have no end. */
function statusOf(request: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(request, "latin1"));
    socket.once("data", (bytes: Buffer) => {
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(bytes.toString("latin1"))?.[1] ?? 0));
      socket.destroy();
    });
    socket.once("close", () => resolve(0));
    socket.once("error", reject);
  });
}

async function signIn(): Promise<Asker> {
  const session = await sessionCookie(process.env.E2E_URL!, ADMIN_PASSWORD);
  expect(session).toContain("session-token");
  return { hostname, port, session, token: API_TOKEN };
}

async function webPid(): Promise<number> {
  const record = path.join(process.env.E2E_FOLDER!, "home/run/children/web.json");
  return (JSON.parse(await readFile(record, "utf8")) as { pid: number }).pid;
}

test("no malformed request to any route is the server's fault", async () => {
  const asker = await signIn();
  const patterns = routePatterns();
  expect(patterns).toEqual(
    expect.arrayContaining(["/", "/dags/[id]", "/api/v1/dags/[dagId]/trigger", "/api/auth/csrf"]),
  );
  const random = randomOf(SEED);
  const waiting = patterns.flatMap((pattern) => [
    ...WORDS.map((word) => lookAt(pattern, word, asker)),
    ...Array.from({ length: REQUESTS_PER_ROUTE }, () => requestTo(pattern, random, asker)),
  ]);
  const faults: string[] = [];
  const seen = new Map<number, number>();
  const lane = async (): Promise<void> => {
    for (let request = waiting.pop(); request !== undefined; request = waiting.pop()) {
      const status = await statusOf(request);
      seen.set(status, (seen.get(status) ?? 0) + 1);
      if (status === 0 || status >= 500) faults.push(`${status} ${JSON.stringify(request.slice(0, 1_500))}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  expect(faults).toEqual([]);
  // They got behind the door: pages and operations have read them.
  for (const status of [200, 400, 404, 415]) expect(seen.get(status) ?? 0, `responses ${status}`).toBeGreaterThan(5);
});

test("nothing that a client makes of a connection is the server's fault, or ends it", async () => {
  const [asker, pid, patterns] = [await signIn(), await webPid(), routePatterns()];
  const kinds = new Set<string>();
  const faults: string[] = [];
  let left = CONVERSATIONS;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      const hostile = hostileTo(asker, randomOfCase(SEED, "web", --left), patterns);
      kinds.add(hostile.kind);
      faults.push(...(await faultsOf(asker, hostile)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  expect(faults).toEqual([]);
  expect([...kinds]).toEqual(expect.arrayContaining(Object.keys(KINDS)));
  expect((await fetch(`${process.env.E2E_URL}/api/v1/health`)).status).toBe(200);
  expect(await webPid()).toBe(pid);
});

test("a request to upgrade the connection is a request like any other", async () => {
  const asker = await signIn();
  const ask = (host: string) => {
    const head = `GET /api/v1/health HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
    return converse(asker, { pieces: [Buffer.from(head)], ends: true });
  };
  expect(await ask("evil.example")).toEqual([421]);
  expect(await ask(`${hostname}:${port}`)).toEqual([200]);
});
