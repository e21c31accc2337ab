import { fork, type ChildProcess } from "node:child_process";
import { on, once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { plainEnv } from "#lib/env.ts";
import { ensureWebBuild } from "#worker/standalone/web-build.ts";
import { type Figure, figureOf } from "../report.ts";
import type { MeasureContext } from "./measure.ts";

const CLI = new URL("../../cli/sluice.mjs", import.meta.url);
const PRELOAD = new URL("../loop-delay.ts", import.meta.url);
const TOKEN = "bench-token-of-the-hostile-measure";
/** A hundred of each kind. */
const REQUESTS = 2_200;
const AT_ONCE = 16;
const SIGNED_IN = `Authorization: Bearer ${TOKEN}\r\n`;
const KIB = 1024;

/** Requests that are hard for whoever reads them, as they go over the wire. A client that is not signed in can send most. */
const HOSTILE: Record<string, string> = {
  form: request(
    "POST",
    "/api/auth/callback/credentials",
    "a&".repeat(8 * KIB - 1),
    "application/x-www-form-urlencoded",
  ),
  "large form": request(
    "POST",
    "/api/auth/callback/credentials",
    "a&".repeat(64 * KIB),
    "application/x-www-form-urlencoded",
  ),
  "form for a page": request("POST", "/login", "a&".repeat(64 * KIB), "application/x-www-form-urlencoded"),
  quotes: request("POST", "/api/v1/dags/x/trigger", `"${'\\"'.repeat(500 * KIB)}`, "application/json", SIGNED_IN),
  "deep JSON": request("POST", "/api/v1/dags/x/trigger", "[".repeat(1_000 * KIB), "application/json", SIGNED_IN),
  "many mistakes": request(
    "POST",
    "/api/v1/dags/x/trigger",
    `{${numbered(50_000, (n) => `"k${n}":1`)}}`,
    "application/json",
    SIGNED_IN,
  ),
  "many members": request(
    "POST",
    "/api/v1/dags/x/trigger",
    `{"conf":{${numbered(50_000, (n) => `"k${n}":1`)}}}`,
    "application/json",
    SIGNED_IN,
  ),
  schema: request("GET", "/api/v1/schemas/dag"),
  health: request("GET", "/api/v1/health"),
  ready: request("GET", "/api/v1/ready"),
  "long address": request("GET", `/${"a/".repeat(6 * KIB)}`),
  "long query": request("GET", `/api/v1/dags?${"a&".repeat(6 * KIB)}`, undefined, "", SIGNED_IN),
  "query of many keys": request(
    "GET",
    `/api/v1/dags?${numbered(1_500, (n) => `k${n}`).replaceAll(",", "&")}`,
    undefined,
    "",
    SIGNED_IN,
  ),
  "query for a page": request("GET", `/login?${"a&".repeat(6 * KIB)}`),
  "most parameters for a page": request("GET", `/login?${"a&".repeat(63)}`),
  "escapes in an address": request("GET", `/${"%25".repeat(4 * KIB)}`),
  "many headers": request(
    "GET",
    "/api/v1/dags",
    undefined,
    "",
    numbered(900, (n) => `x-${n}: 1\r\n`).replaceAll(",", ""),
  ),
  cookies: request("GET", "/dags", undefined, "", `Cookie: ${"a=b; ".repeat(2_500)}\r\n`),
  "one large cookie": request(
    "GET",
    "/dags",
    undefined,
    "",
    `Cookie: authjs.session-token=${"e".repeat(12 * KIB)}\r\n`,
  ),
  "bad chunks": "POST /api/v1/dags/x/trigger HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
  "tiny chunks": `POST /api/v1/dags/x/trigger HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${SIGNED_IN}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${"1\r\n[\r\n".repeat(20_000)}0\r\n\r\n`,
  "unknown route": request("GET", "/nothing/here"),
  "unknown operation": request("GET", "/api/v1/nothing/here", undefined, "", SIGNED_IN),
};

function numbered(count: number, piece: (n: number) => string): string {
  return Array.from({ length: count }, (_, n) => piece(n)).join(",");
}

function request(method: string, target: string, body?: string, type = "", headers = ""): string {
  const about = body === undefined ? "" : `Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
  return `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${about}${headers}\r\n${body ?? ""}`;
}

/** How long one web process holds its event loop while clients send what is hard to read. */
export async function hostile({ system }: MeasureContext): Promise<Figure[]> {
  const signal = new AbortController().signal;
  await ensureWebBuild({ env: plainEnv(), signal, say: (line) => console.error(line) });
  const home = await mkdtemp(path.join(os.tmpdir(), "sluice-bench-web-"));
  const port = await freePort();
  const web = fork(CLI, ["web"], {
    execArgv: ["--import", PRELOAD.href],
    env: {
      ...plainEnv(),
      DATABASE_URL: system.url,
      SLUICE_HOME: home,
      SLUICE_API_TOKEN: TOKEN,
      SLUICE_SESSION_SECRET: "s".repeat(32),
      PORT: String(port),
      LOG_LEVEL: "fatal",
    },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  try {
    await told(web, "ready");
    const kinds = Object.keys(HOSTILE);
    // Each code path once: what is compiled at the first request is not what is measured.
    for (const kind of kinds) await send(port, HOSTILE[kind]!);
    await loopDelay(web);
    const held: Record<string, { p99: number; max: number }> = {};
    for (const kind of kinds) {
      await sendMany(port, HOSTILE[kind]!, Math.ceil(REQUESTS / kinds.length));
      held[kind] = await loopDelay(web);
    }
    return kinds.map((kind) =>
      figureOf({
        id: `hostile.${kind.replaceAll(" ", "-")}`,
        kind: "cost",
        unit: "ms p99 of the event loop",
        runs: [held[kind]!.p99],
        target: { atMost: 200 },
      }),
    );
  } finally {
    web.kill("SIGKILL");
    await once(web, "exit");
    await rm(home, { recursive: true, force: true });
  }
}

async function told(child: ChildProcess, type: string): Promise<{ p99: number; max: number }> {
  for await (const [message] of on(child, "message", { close: ["exit"] })) {
    if ((message as { type?: string }).type === type) return message as { p99: number; max: number };
  }
  throw new Error("the web process ended");
}

async function loopDelay(web: ChildProcess): Promise<{ p99: number; max: number }> {
  const answer = told(web, "loop-delay");
  web.send("loop-delay");
  return answer;
}

async function sendMany(port: number, bytes: string, count: number): Promise<void> {
  let left = count;
  const client = async (): Promise<void> => {
    while (left-- > 0) await send(port, bytes);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
}

/** Resolves when the server has said all it will, however that ends. */
async function send(port: number, bytes: string): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.setTimeout(60_000, () => socket.destroy());
  socket.write(bytes);
  await text(socket).catch(() => undefined);
  socket.destroy();
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
