import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { allEnded, isRunning } from "#lib/testing/processes.ts";
import { openCgroups } from "./cgroups/open.ts";
import { NO_GROUPS } from "./cgroups/none.ts";
import { anonymousName, endDeadLeftovers, endLeftovers } from "./leftovers.ts";

let folder: string;
let said: object[];
const log = { warn: (fields: object) => void said.push(fields) };

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-leftovers-"));
  said = [];
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A process as a worker that was killed together with its spawner leaves it. */
async function leave(work: string, { first = "", variable = "SLUICE_WORK_DIR" } = {}): Promise<number> {
  const attempt = path.join(work, "a-1");
  await mkdir(attempt, { recursive: true });
  await writeFile(path.join(attempt, "inputs.json"), "{}");
  const child = spawn("bash", ["-c", `${first} echo up; exec sleep 300`], {
    env: { PATH: "/usr/bin:/bin", [variable]: attempt } as unknown as NodeJS.ProcessEnv,
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  await once(child.stdout, "data");
  return child.pid!;
}

test("processes and folders of a worker's name are ended before it takes anything", async () => {
  const [ours, other] = [path.join(folder, "w-1"), path.join(folder, "w-10")];
  const pids = [await leave(ours), await leave(other)];
  const onlooker = await leave(ours, { variable: "LAST_WORK_DIR" });
  await endLeftovers(NO_GROUPS, ours, log);
  expect(await allEnded([pids[0]!])).toBe(true);
  expect([pids[1]!, onlooker].map(isRunning)).toEqual([true, true]);
  process.kill(onlooker, "SIGKILL");
  expect(await readdir(ours)).toEqual([]);
  expect(await readdir(other)).toEqual(["a-1"]);
  expect(said).toEqual([{ groups: 0, processes: 1 }]);
  await endLeftovers(NO_GROUPS, other, log);
  expect(await allEnded(pids)).toBe(true);
});

test("what a process without a name has left is ended by the next one on its host, and by no other", async () => {
  const home = path.join(folder, "home");
  const dead = spawn("true");
  await once(dead, "exit");
  const lived = (host: string, pid: number): string =>
    path.join(home, "work", anonymousName("worker", host).replace(`-${process.pid}-`, `-${pid}-`));
  const [gone, alive, away] = [lived("h", dead.pid!), lived("h", process.pid), lived("h-2", dead.pid!)];
  const pids = [await leave(gone), await leave(alive), await leave(away)];
  await endDeadLeftovers({ home, host: "h", log, cgroupsOf: () => NO_GROUPS });
  expect(await allEnded([pids[0]!])).toBe(true);
  expect(pids.slice(1).map(isRunning)).toEqual([true, true]);
  expect((await readdir(path.join(home, "work"))).toSorted()).toEqual(
    [alive, away].map((one) => path.basename(one)).toSorted(),
  );
  for (const pid of pids.slice(1)) process.kill(pid, "SIGKILL");
});

const name = `leftovers-${process.pid}`;
const cgroups = openCgroups(name);

test.runIf(cgroups.none === undefined)("a control group that was left is ended with all that is in it", async () => {
  const group = cgroups.open({ memory: 0, cpu: 0, pids: 0 });
  const join = group.procs.map((procs) => `echo $$ > ${procs};`).join(" ");
  const pid = await leave(path.join(folder, "elsewhere"), { first: join });
  await endLeftovers(openCgroups(name), path.join(folder, name), log);
  expect(await allEnded([pid])).toBe(true);
  expect(said).toContainEqual({ groups: 1, processes: 0 });
  cgroups.remove();
});
