import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../domain/errors.ts";
import { ADMIN_PASSWORD, API_TOKEN, freePort, makeFolder, removeFolder, startSluice } from "../../../e2e/sluice.ts";
import { type Asker, requestTo, routePatterns } from "./requests.ts";
import type { Random } from "./random.ts";
import { type Conversation, KINDS } from "./sockets.ts";
import type { Target } from "./target.ts";

/** Between two pieces of a conversation. */
const PAUSE_MS = 5;
/** A client that says nothing more and is told nothing goes away after so long. */
const PATIENCE_MS = 300;
/** Longer than any connection without a request is kept. */
const UNTOLD_MS = 30_000;

/** Whether it has resolved when so long has passed. */
async function within(ms: number, work: Promise<void>): Promise<boolean> {
  const over = new AbortController();
  const late = delay(ms, false, { signal: over.signal }).catch(() => false);
  const isDone = await Promise.race([work.then(() => true), late]);
  over.abort();
  return isDone;
}

/** Statuses of the responses on one connection; none when it was closed without one. What a response says may have no end. */
export async function converse(asker: Asker, { pieces, ends }: Conversation): Promise<number[]> {
  const socket = connect({ port: Number(asker.port), host: asker.hostname, allowHalfOpen: true });
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const heard = Promise.withResolvers<void>();
  let said = "";
  let failure: Error | undefined;
  socket.on("data", (bytes: Buffer) => {
    said += bytes.toString("latin1");
    heard.resolve();
  });
  socket.on("end", () => socket.end());
  socket.on("error", (error: NodeJS.ErrnoException) => {
    // It may close on us while we still write; that nobody listens there is the fault that is looked for.
    if (error.code === "ECONNREFUSED") failure = error;
  });
  for (const piece of pieces) {
    if (!socket.writable) break;
    socket.write(piece);
    if (pieces.length > 1) await delay(PAUSE_MS);
  }
  if (ends) {
    socket.end();
    const isTold = await within(UNTOLD_MS, Promise.race([closed, heard.promise]));
    if (!isTold) failure = new Error("the client has ended its side, is told nothing and the connection stays open");
  }
  await within(PATIENCE_MS, closed);
  socket.destroy();
  await closed;
  if (failure !== undefined) throw failure;
  return [...said.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));
}

export type Hostile = { kind: string; conversation: Conversation };

/** One hostile conversation with one of the routes, of any kind. */
export function hostileTo(asker: Asker, random: Random, patterns = routePatterns()): Hostile {
  const kind = random.pick(["a request", ...Object.keys(KINDS)]);
  const make = KINDS[kind];
  if (make !== undefined) return { kind, conversation: make(random, patterns, asker) };
  const bytes = Buffer.from(requestTo(random.pick(patterns), random, asker), "latin1");
  return { kind, conversation: { pieces: [bytes], ends: false } };
}

/** What is wrong with what the web process said to it. */
export async function faultsOf(asker: Asker, { kind, conversation }: Hostile): Promise<string[]> {
  const said = await converse(asker, conversation).then(
    (statuses) => statuses.filter((status) => status >= 500),
    messageOf,
  );
  const text = Buffer.concat(conversation.pieces).toString("latin1").slice(0, 1_500);
  return said.length === 0 ? [] : [`${kind}: ${String(said)} to ${JSON.stringify(text)}`];
}

/** Signs in, and returns the cookies of it. */
export async function sessionCookie(url: string, password: string): Promise<string> {
  const first = await fetch(`${url}/api/auth/csrf`);
  const cookiesOf = (response: Response): string =>
    response.headers
      .getSetCookie()
      .map((one) => one.split(";")[0])
      .join("; ");
  const { csrfToken } = (await first.json()) as { csrfToken: string };
  const signedIn = await fetch(`${url}/api/auth/callback/credentials`, {
    method: "POST",
    headers: { cookie: cookiesOf(first) },
    body: new URLSearchParams({ csrfToken, name: "admin", password, json: "true" }),
  });
  return cookiesOf(signedIn);
}

/** Milliseconds of the processor that a process has used; 0 where the system does not tell. */
export function cpuMsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    // In ticks of 10 ms.
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return 0;
  }
}

/** Of the web process, for one conversation: what takes so long keeps everybody else waiting. */
const BLOCKED_MS = 3_000;

/** Every route of the web process of a whole Sluice, and what comes before a route: `cli/web-server.ts`. */
export const web: Target = {
  name: "web",
  async start() {
    const folder = await makeFolder();
    const sluice = await startSluice(folder, await freePort());
    const { hostname, port } = new URL(sluice.url);
    const session = await sessionCookie(sluice.url, ADMIN_PASSWORD);
    const asker = { hostname, port, session, token: API_TOKEN };
    const names = ["web", "scheduler", "worker"];
    const pids = await Promise.all(names.map((name) => sluice.pidOf(name)));
    const patterns = routePatterns();
    return {
      async one(random) {
        const before = cpuMsOf(pids[0]!);
        const faults = await faultsOf(asker, hostileTo(asker, random, patterns));
        const { status } = await fetch(`${sluice.url}/api/v1/health`);
        const usedMs = cpuMsOf(pids[0]!) - before;
        if (status !== 200) faults.push(`/health responds with ${status}`);
        if (usedMs > BLOCKED_MS) faults.push(`it took ${usedMs} ms of the web process`);
        return faults;
      },
      async stop() {
        const now = await Promise.all(names.map((name) => sluice.pidOf(name)));
        await sluice.stop();
        await removeFolder(folder);
        return now.join() === pids.join() ? [] : [`a process has ended: ${pids.join()} are now ${now.join()}`];
      },
    };
  },
};
