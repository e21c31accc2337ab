import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { plainEnv } from "#lib/env.ts";
import { whenSignalled } from "../stopping.ts";

export type Redis = { port: number; pid: number; stop(): Promise<void> };

const ATTEMPTS = 5;

/** A Redis that has written each change to its file before it returns; undefined where none is installed. */
export async function startRedis(): Promise<Redis | undefined> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-bench-redis-"));
  let server: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    if (server !== undefined && server.pid !== undefined && server.exitCode === null && server.signalCode === null) {
      const exited = once(server, "exit");
      server.kill("SIGKILL");
      await exited;
    }
    await rm(folder, { recursive: true, force: true });
  };
  const forget = whenSignalled(stop);
  try {
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      server = spawn("redis-server", settings(port, folder), { env: plainEnv(), stdio: ["ignore", "pipe", "inherit"] });
      const begun = await begins(server);
      if (begun === "ready")
        return {
          port,
          pid: server.pid!,
          async stop() {
            await stop();
            forget();
          },
        };
      // The port may have been taken by another program since it was free.
      if (begun === "missing" || attempt === ATTEMPTS) {
        await stop();
        forget();
        if (begun === "missing") return undefined;
        throw new Error("redis-server ended before it took connections");
      }
    }
  } catch (error) {
    await stop();
    throw error;
  }
}

function settings(port: number, folder: string): string[] {
  const given = {
    port: String(port),
    bind: "127.0.0.1",
    dir: folder,
    // As durable as a commit of Postgres.
    appendonly: "yes",
    appendfsync: "always",
    save: "",
    // What BullMQ asks for.
    "maxmemory-policy": "noeviction",
  };
  return Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]);
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function begins(server: ChildProcess): Promise<"ready" | "missing" | "ended"> {
  return new Promise((resolve) => {
    let text = "";
    server.stdout!.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-10_000);
      if (text.includes("Ready to accept connections")) resolve("ready");
    });
    server.once("error", () => resolve("missing"));
    server.once("exit", () => resolve("ended"));
  });
}
