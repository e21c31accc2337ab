import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { admitLeft } from "#lib/engine/admit.ts";
import { plainEnv } from "#lib/env.ts";
import { type EngineOrWhyNot, startContainerEngine } from "#lib/testing/container-engine.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { runState, start } from "#lib/testing/engine.ts";

const database = testDatabase();
const started: EngineOrWhyNot = await startContainerEngine();
const home = await mkdtemp(path.join(os.tmpdir(), "sluice-containers-"));
const workers = new Set<ChildProcess>();
afterAll(async () => {
  for (const child of workers) await kill(child);
  await started.engine?.stop();
  await rm(home, { recursive: true, force: true });
});

const SLUICE = path.resolve(import.meta.dirname, "../../cli/sluice.mjs");

function startWorker(name: string): ChildProcess {
  const child = spawn(process.execPath, [SLUICE, "worker", "--name", name], {
    env: {
      ...plainEnv(),
      DATABASE_URL: database.url,
      SLUICE_HOME: home,
      SLUICE_DOCKER_HOST: started.engine!.host,
      LOG_LEVEL: "silent",
    },
    stdio: "inherit",
  });
  workers.add(child);
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  workers.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

/** Asks until it is so, and plays the scheduler meanwhile: there is none here, and a worker admits nothing. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error("it did not come to pass");
    await admitLeft(database.deps);
    await delay(50);
  }
}

async function logs(): Promise<string> {
  const { rows } = await database.pool.query<{ line: string }>(
    `select attempt || ' ' || stream || ' ' || convert_from(chunk, 'UTF8') as line
       from sluice.task_log order by task_instance_id, attempt, seq`,
  );
  return rows.map(({ line }) => line).join("");
}

describe.skipIf(started.whyNot !== undefined)(`containers of a worker (${started.whyNot ?? "with Podman"})`, () => {
  test("that was killed are removed when it starts again, before it takes anything; those of others are not", async () => {
    const engine = started.engine!;
    const labelled = (name: string, worker: string): string =>
      engine.podman(
        "run",
        "--detach",
        "--network=none",
        `--name=${name}`,
        `--label=sluice.worker=${worker}`,
        `--label=sluice.home=${home}`,
        engine.image,
        "sleep",
        "600",
      );
    const names = (): string[] => engine.podman("ps", "--all", "--format", "{{.Names}}").split("\n").toSorted();
    labelled("of-w-10", "w-10");
    const script = `
      if [ "$SLUICE_ATTEMPT" = 1 ]; then echo up; echo err >&2; sleep 600; fi
      echo again; echo '{"rows": 3}' > "$SLUICE_OUTPUT"`;
    const task = { image: engine.image, network: "none", command: ["sh", "-c", script] };
    const spec = DagSpec.parse({ id: "contained", tasks: [{ id: "t", type: "docker", config: task }] });
    await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: "c.yaml", source: "", author: "test" }));
    const runId = await start(database.deps, "contained");

    const first = startWorker("w-1");
    await until(async () => (await logs()).includes("up\n"));
    await kill(first);
    const left = names().filter((name) => name !== "of-w-10");
    expect(left).toEqual([expect.stringMatching(/^sluice-[0-9a-f-]{36}$/)]);

    startWorker("w-1");
    await until(async () => (await runState(database.deps, runId)) === "success");
    expect(names()).toEqual(["of-w-10"]);
    const events = engine.podman("events", "--stream=false", "--format", "{{.Status}} {{.Name}}").split("\n");
    expect(events.indexOf(`remove ${left[0]}`)).toBeGreaterThan(0);
    expect(events.indexOf(`remove ${left[0]}`)).toBeLessThan(
      events.findLastIndex((event) => event.startsWith("create ")),
    );
    engine.podman("rm", "--force", "--time", "0", "of-w-10");
    const { rows } = await database.pool.query<{ state: string; reason: string }>(
      "select state, reason from sluice.attempt order by number",
    );
    expect(rows).toMatchObject([{ state: "lost" }, { state: "success" }]);
    expect(await logs()).toMatch(/^(1 stdout up\n1 stderr err\n|1 stderr err\n1 stdout up\n)2 stdout again\n$/);
    const output = await database.pool.query<{ value: unknown }>("select value from sluice.xcom");
    expect(output.rows).toEqual([{ value: { rows: 3 } }]);
  });
});
