import { spawn } from "node:child_process";
import { plainEnv } from "#lib/env.ts";
import type { Server } from "./server.ts";

/**
 * Ends a server when this process is gone, however it ended: the shell waits for a pipe that nobody but this process holds open.
 * Where there is no `sh` the server stays.
 */
export function tieToOwner(server: Server): void {
  const script = 'read -r _; kill -QUIT "$0"';
  const guard = spawn("sh", ["-c", script, String(server.process.pid)], {
    // What ends us by the terminal must not end the shell before.
    detached: true,
    env: plainEnv(),
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.on("error", () => undefined);
  guard.stdin.on("error", () => undefined);
  guard.unref();
  void server.exited.then(() => guard.kill("SIGKILL"));
}
