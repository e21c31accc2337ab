/** Loads 2,000 definition files into an empty database, as a scheduler does at its start. One JSON object a line. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import os from "node:os";
import path from "node:path";
import { pino } from "pino";
import { createNotifier } from "#lib/db/notify.ts";
import { createLogStore } from "#lib/db/task-logs.ts";
import { createPool } from "#lib/db/pool.ts";
import { startEmbeddedPostgres } from "#lib/embedded/start.ts";
import { createEngineDeps } from "#lib/engine/deps.ts";
import { install } from "#lib/engine/install.ts";
import { plainEnv } from "#lib/env.ts";
import { createJobQueue } from "#lib/queue/job-queue.ts";
import { ownPlace } from "#worker/guests/place.ts";
import { createLoader } from "#worker/loader/loader.ts";
import { runStoppable, whenSignalled } from "./stopping.ts";

const YAML_FILES = 1_500;
const TYPESCRIPT_FILES = 500;
const LIMIT_S = 10;
const VISIBLE_LIMIT_S = 2;

await runStoppable(async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-bench-"));
  await chmod(folder, 0o711);
  const starting = startEmbeddedPostgres({
    dataDir: path.join(folder, "postgres"),
    logFile: path.join(folder, "postgres.log"),
    endsWithOwner: true,
  });
  const discard = async (): Promise<void> => {
    await starting.then((server) => server.stop()).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  };
  const forget = whenSignalled(discard);
  try {
    const server = await starting;
    const dagsDir = path.join(folder, "dags");
    for (let n = 0; n < 20; n++) await mkdir(path.join(dagsDir, `team-${n}`), { recursive: true });
    for (let n = 0; n < YAML_FILES; n++)
      await writeFile(path.join(dagsDir, `team-${n % 20}`, `y${n}.yaml`), yaml(n, 1));
    for (let n = 0; n < TYPESCRIPT_FILES; n++)
      await writeFile(path.join(dagsDir, `team-${n % 20}`, `t${n}.ts`), typescript(n));

    const pool = createPool({ url: server.url, max: 4, name: "bench" });
    await install(server.url);
    const queue = createJobQueue(pool, () => undefined);
    const deps = createEngineDeps({
      pool,
      sessionUrl: server.url,
      queue,
      notifier: createNotifier(pool, queue.bells, () => undefined),
      logs: createLogStore(pool),
      log: pino({ level: "silent" }),
      newToken: randomUUID,
      requestPass: () => Promise.resolve(),
    });
    const load = async (loader: ReturnType<typeof createLoader>): Promise<number> => {
      const started = performance.now();
      await loader.pass();
      return (performance.now() - started) / 1_000;
    };
    const create = (): ReturnType<typeof createLoader> =>
      createLoader({ deps, dagsDir, env: plainEnv(), place: ownPlace() });
    const loader = create();
    report("load-files", await load(loader), LIMIT_S);
    report("load-files-unchanged-restart", await load(create()), LIMIT_S);
    await writeFile(path.join(dagsDir, "team-0", "y0.yaml"), yaml(0, 2));
    report("load-files-one-changed", await load(loader), VISIBLE_LIMIT_S);
    const cpu = process.cpuUsage();
    for (let n = 0; n < 10; n++) await loader.pass();
    const used = process.cpuUsage(cpu);
    report("load-files-idle-look", (used.user + used.system) / 10 / 1_000_000, 0.1);
    const { rows } = await pool.query<{ n: number }>("select count(*)::int as n from sluice.dag");
    if (rows[0]!.n !== YAML_FILES + TYPESCRIPT_FILES) throw new Error(`only ${rows[0]!.n} DAGs were loaded`);
    await pool.end();
  } finally {
    await discard();
    forget();
  }
});

function report(id: string, figure: number, limit: number): void {
  process.stdout.write(
    `${JSON.stringify({ id, figure: Number(figure.toFixed(3)), unit: "s", limit, ok: figure <= limit })}\n`,
  );
}

function yaml(n: number, version: number): string {
  const tasks = Array.from({ length: 5 }, (_, task) => {
    const after = task === 0 ? "" : `\n    dependsOn: [t${task - 1}]`;
    return `  - id: t${task}${after}\n    retries: 2\n    bash: echo ${n} ${version}\n`;
  });
  return `id: yaml-${n}\ntags: [bench]\ntasks:\n${tasks.join("")}`;
}

function typescript(n: number): string {
  return `import { bash, dag, fn } from "sluice";
export default dag("ts-${n}").task("a", fn(() => ${n})).task("b", { dependsOn: ["a"] }, bash("true"));
`;
}
