import { expect, test } from "@playwright/test";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import {
  api,
  BY_NPM,
  freePort,
  logHolds,
  makeFolder,
  makeTaskFolder,
  removeFolder,
  runEnd,
  type Sluice,
  startSluice,
  tasksOf,
  triggerRun,
} from "./sluice.ts";
import { allEnded } from "#lib/testing/processes.ts";
import { fileAppears } from "./wait-for-file.ts";

/** Real processes, really killed; each test on a Sluice of its own. */
let folder: string;
let running: Sluice | undefined;

test.beforeEach(async () => {
  folder = await makeFolder();
});

test.afterEach(async () => {
  await running?.stop();
  running = undefined;
  await removeFolder(folder);
});

async function start(): Promise<Sluice> {
  running = await startSluice(folder, await freePort());
  return running;
}

async function childPids(sluice: Sluice): Promise<number[]> {
  return Promise.all(["web", "scheduler", "worker"].map((name) => sluice.pidOf(name)));
}

async function hold(
  sluice: Sluice,
): Promise<{ runId: string; held: string; pid: (attempt: number) => Promise<number> }> {
  const held = await makeTaskFolder(folder);
  const runId = await triggerRun(sluice, "held", { conf: { folder: held } });
  const pid = async (attempt: number): Promise<number> => {
    const file = path.join(held, `pid.${attempt}`);
    await fileAppears(file);
    return Number(await readFile(file, "utf8"));
  };
  return { runId, held, pid };
}

test("a worker killed while a task runs is started again and the task runs again", async () => {
  const sluice = await start();
  const { runId, held, pid } = await hold(sluice);
  const firstPid = await pid(1);
  const [first] = await tasksOf(sluice, runId);
  await logHolds(sluice, first!.id, 1, "attempt 1 is waiting");
  const restarted = sluice.line(/worker .*starting it again|worker ended/);
  process.kill(await sluice.pidOf("worker"), "SIGKILL");
  await restarted;
  await pid(2);
  expect(await allEnded([firstPid])).toBe(true);
  await writeFile(path.join(held, "go"), "");
  expect(await runEnd(sluice, runId)).toBe("success");
  const [task] = await tasksOf(sluice, runId);
  expect(task).toMatchObject({ taskId: "hold", state: "success", attempt: 2 });
  const log = await api(sluice, `/task-instances/${task!.id}/logs?attempt=1`);
  expect(await log.text()).toBe("attempt 1 is waiting\n");
});

test("SIGTERM ends every process within 10 s, hands running tasks back, and the next start goes on with them", async () => {
  const first = await start();
  const { runId, held, pid } = await hold(first);
  const taskPid = await pid(1);
  const pids = await childPids(first);
  const stopped = await first.stop();
  expect(stopped.code).toBe(0);
  expect(stopped.tookMs).toBeLessThan(10_000);
  expect(await allEnded([...pids, taskPid])).toBe(true);

  const second = await start();
  expect(second.startedInMs).toBeLessThan(10_000);
  await pid(2);
  await writeFile(path.join(held, "go"), "");
  expect(await runEnd(second, runId)).toBe("success");
});

test("SIGTERM to `npm start` reaches everything behind it", async () => {
  running = await startSluice(folder, await freePort(), BY_NPM);
  const pids = await childPids(running);
  await running.stop();
  expect(await allEnded(pids, 10_000)).toBe(true);
});

test("a supervisor killed with SIGKILL leaves nothing that the next start does not clean up", async () => {
  const first = await start();
  const { runId, held, pid } = await hold(first);
  const taskPid = await pid(1);
  const pids = await childPids(first);
  const exited = once(first.process, "exit");
  first.process.kill("SIGKILL");
  await exited;

  const second = await start();
  expect(await allEnded([...pids, taskPid])).toBe(true);
  await pid(2);
  await writeFile(path.join(held, "go"), "");
  expect(await runEnd(second, runId)).toBe("success");
});

test("a web process that stands still holds up no run, and answers who waited when it goes on", async () => {
  const sluice = await start();
  const loaded = sluice.line(/DAG loaded dag=still/);
  const held = await makeTaskFolder(folder);
  const tasks = [
    { id: "first", bash: `touch ${held}/begun; until [ -e ${held}/go ]; do sleep 0.05; done` },
    { id: "next", dependsOn: ["first"], bash: `touch ${held}/next` },
  ];
  await writeFile(path.join(sluice.dagsDir, "still.json"), JSON.stringify({ id: "still", tasks }));
  await loaded;
  const runId = await triggerRun(sluice, "still");
  await fileAppears(path.join(held, "begun"));
  const web = await sluice.pidOf("web");
  process.kill(web, "SIGSTOP");
  const waiting = api(sluice, `/dag-runs/${runId}`);
  await writeFile(path.join(held, "go"), "");
  await fileAppears(path.join(held, "next"));
  process.kill(web, "SIGCONT");
  expect((await waiting).status).toBe(200);
  expect(await runEnd(sluice, runId)).toBe("success");
  expect(await sluice.pidOf("web")).toBe(web);
});

test("a definition that appears is loaded without a restart, and a broken one is told and changes nothing", async () => {
  const sluice = await start();
  const file = path.join(sluice.dagsDir, "fresh.yaml");
  const loaded = sluice.line(/DAG loaded dag=fresh/);
  await writeFile(file, "id: fresh\ntasks:\n  - id: only\n    bash: echo hi\n");
  await loaded;
  expect(await runEnd(sluice, await triggerRun(sluice, "fresh"))).toBe("success");
  const told = sluice.line(/cannot be loaded.*fresh\.yaml/);
  await writeFile(file, "id: fresh\ntasks:\n  - id: only\n    bsh: echo hi\n");
  await told;
  expect(await runEnd(sluice, await triggerRun(sluice, "fresh"))).toBe("success");
});
