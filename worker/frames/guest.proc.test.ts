import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { allEnded } from "#lib/testing/processes.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");

test("a guest for which there is no descriptor is told as one that did not start, and throws nothing", async () => {
  const script = `
    import { openSync } from "node:fs";
    import { startGuest } from "${ROOT}/worker/frames/guest.ts";
    const files = [];
    try { for (;;) files.push(openSync("/dev/null")); } catch {}
    const guest = startGuest({ module: "x", args: [], cwd: "/", env: {}, leadsGroup: true, limits: {}, take() {},
      over: ({ how }) => process.stdout.write(how, () => process.exit(0)) });
    guest.send("C", 1, Buffer.alloc(0));
    guest.kill();
    if (!guest.isOver()) process.exit(3);
  `;
  const limited = `ulimit -n 64; exec "${process.execPath}" --no-warnings --input-type=module -e '${script}'`;
  const { stdout } = await promisify(execFile)("sh", ["-c", limited], { cwd: ROOT, env: plainEnv() });
  expect(stdout).toBe("not started");
});

test("a terminal's Ctrl-C ends what a command evaluates, also a file that never ends", async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-guest-"));
  const pidFile = path.join(folder, "pid");
  await writeFile(
    path.join(folder, "a.ts"),
    `import "sluice"; import { writeFileSync } from "node:fs"; writeFileSync("${pidFile}", String(process.pid)); for (;;);`,
  );
  const command = spawn(process.execPath, [path.join(ROOT, "cli/sluice.mjs"), "dags", "validate", folder], {
    cwd: folder,
    env: plainEnv(),
    detached: true,
    stdio: "ignore",
  });
  const exited = once(command, "exit");
  let pid = "";
  // The file tells nobody that it is there.
  while (pid === "") {
    await delay(20);
    pid = await readFile(pidFile, "utf8").catch(() => "");
  }
  process.kill(-command.pid!, "SIGINT");
  await exited;
  expect(await allEnded([Number(pid)])).toBe(true);
  await rm(folder, { recursive: true });
});
