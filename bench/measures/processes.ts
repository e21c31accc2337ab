import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { Cgroups } from "#worker/cgroups/groups.ts";
import { NO_GROUPS } from "#worker/cgroups/none.ts";
import { openCgroups } from "#worker/cgroups/open.ts";
import { createSpawner, type Spawner } from "#worker/spawner/client.ts";
import type { SpawnerProgram } from "#worker/spawner/launch.ts";
import { plainEnv } from "#lib/env.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { childrenOf, cpuMsOf, postgresCpuMs } from "../cpu.ts";
import { fan } from "../dags.ts";
import { type Figure, figureOf } from "../report.ts";
import { runSeconds } from "../runs.ts";
import { startSystem, type System } from "../system.ts";
import type { MeasureContext } from "./measure.ts";

const COUNT = 1_000;
const WIDTH = 4;
/** What it takes to make, sort out and remove a control group for each process. */
const ASKED = { cpu: 1_000, memory: 256 };

/** B1P: 1,000 × `sh -c true`, four at a time, output captured: by the spawner alone, and through the whole system. */
export async function processes({ times }: MeasureContext): Promise<Figure[]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-processes-"));
  const cgroups = openCgroups(`bench-${process.pid}`);
  try {
    const makeCpu: number[] = [];
    const make = figureOf({
      id: "limit.make.j2",
      kind: "limit",
      unit: "processes/s",
      runs: await times(async () => {
        const before = await cpuMsOf(process.pid);
        const rate = await makeRate(folder);
        makeCpu.push(((await cpuMsOf(process.pid)).children - before.children) / COUNT);
        return rate;
      }),
    });
    const figures: Figure[] = [make];
    for (const program of ["perl", "node"] as const) {
      // Node starts nothing inside of a group.
      for (const groups of program === "perl" && cgroups.none === undefined ? [NO_GROUPS, cgroups] : [NO_GROUPS]) {
        const limited = groups !== NO_GROUPS;
        figures.push(
          figureOf({
            id: `B1P.${program}${limited ? ".limited" : ""}`,
            kind: "P",
            unit: "processes/s",
            runs: await spawnerRates(program, groups, folder, times),
            target: { atLeast: limited ? 600 : 1_000 },
            limit: { figure: make.figure, ...(limited ? {} : { target: { atLeast: 0.4 } }) },
          }),
        );
      }
    }
    const cpu = figureOf({ id: "limit.make.cpu", kind: "limit", unit: "ms per process", runs: makeCpu.slice(1) });
    return [...figures, cpu, ...(await wholeSystem(times, make.figure, cpu.figure))];
  } finally {
    cgroups.remove();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The same by `make -j2`, which captures nothing: what the machine gives. NaN where there is no make. */
async function makeRate(folder: string): Promise<number> {
  const names = Array.from({ length: COUNT }, (_, n) => `t${n}`);
  const rules = names.map((name) => `${name}:\n\t@sh -c true\n`).join("");
  await writeFile(path.join(folder, "Makefile"), `.PHONY: all ${names.join(" ")}\nall: ${names.join(" ")}\n${rules}`);
  const started = performance.now();
  const make = spawn("make", ["-s", "-j2"], { cwd: folder, stdio: "ignore" });
  const code = await Promise.race([once(make, "exit"), once(make, "error")]).then(([first]: unknown[]) => first);
  return code === 0 ? COUNT / ((performance.now() - started) / 1_000) : Number.NaN;
}

async function spawnerRates(
  program: SpawnerProgram,
  cgroups: Cgroups,
  folder: string,
  times: MeasureContext["times"],
): Promise<number[]> {
  const spawner = createSpawner({ env: plainEnv(), program, log: SILENT, cgroups, maxPids: 1_000 });
  try {
    return await times(() => spawnerRate(spawner, folder));
  } finally {
    await spawner.stop();
  }
}

async function spawnerRate(spawner: Spawner, folder: string): Promise<number> {
  const { signal } = new AbortController();
  const env = { PATH: "/usr/bin:/bin" };
  let left = COUNT;
  const started = performance.now();
  const loop = async (): Promise<void> => {
    while (left-- > 0) {
      const request = { file: "sh", args: ["-c", "true"], env, folder: path.join(folder, `p-${left}`), files: {} };
      const exit = await spawner.run(request, signal, async () => undefined, ASKED);
      if (exit.code !== 0) throw new Error(`a process ended with ${JSON.stringify(exit)}`);
    }
  };
  await Promise.all(Array.from({ length: WIDTH }, loop));
  return COUNT / ((performance.now() - started) / 1_000);
}

/** Claimed, started, logged and finished by a worker with four process slots. */
async function wholeSystem(times: MeasureContext["times"], makeFigure: number, makeCpu: number): Promise<Figure[]> {
  const system = await startSystem({ env: { SLUICE_PROCESS_SLOTS: String(WIDTH) } });
  try {
    await system.addDag("fan-processes", fan("fan-processes", COUNT, "process"));
    const costs: Cost[] = [];
    const runs = await times(async () => {
      const before = await costOf(system);
      const runId = await system.trigger("fan-processes");
      await system.drained();
      costs.push(perTask(before, await costOf(system)));
      return (COUNT + 2) / (await runSeconds(system.pool, runId));
    });
    // The first is the one that is thrown away.
    const counted = costs.slice(1);
    const limit = { figure: makeFigure, target: { atLeast: 0.3 } };
    return [
      figureOf({ id: "B1P.system", kind: "P", unit: "tasks/s", runs, target: { atLeast: 1_000 }, limit }),
      ...PARTS.map((part) =>
        figureOf({ id: `B1P.cpu.${part}`, kind: "cost", unit: "ms per task", runs: counted.map((cost) => cost[part]) }),
      ),
      figureOf({
        id: "B1P.cpu",
        kind: "cost",
        unit: "ms per task",
        runs: counted.map((cost) => PARTS.reduce((sum, part) => sum + cost[part], 0)),
        limit: { figure: makeCpu },
      }),
    ];
  } finally {
    await system.stop();
  }
}

const PARTS = ["tasks", "spawner", "worker", "postgres", "scheduler"] as const;
/** Processor time in ms of each part of the system; whatever else the machine does is not in it. */
type Cost = Record<(typeof PARTS)[number], number>;

async function costOf({ pids }: System): Promise<Cost> {
  const [spawner] = await childrenOf(pids.worker);
  const [ofSpawner, worker, scheduler, postgres] = await Promise.all([
    cpuMsOf(spawner!),
    cpuMsOf(pids.worker),
    cpuMsOf(pids.scheduler),
    postgresCpuMs(pids.postgres),
  ]);
  return {
    tasks: ofSpawner.children,
    spawner: ofSpawner.own,
    worker: worker.own,
    postgres,
    scheduler: scheduler.own,
  };
}

const perTask = (before: Cost, after: Cost): Cost =>
  Object.fromEntries(PARTS.map((part) => [part, (after[part] - before[part]) / COUNT])) as Cost;
