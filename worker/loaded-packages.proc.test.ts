import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "..");

/** Packages that are loaded with these modules, by a process that does nothing else. */
async function packagesOf(...modules: string[]): Promise<string[]> {
  const script = `
    import { registerHooks } from "node:module";
    const packages = new Set();
    registerHooks({ load(url, context, next) {
      const name = /node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url)?.[1];
      if (name !== undefined) packages.add(name);
      return next(url, context);
    } });
    // The thread wants to be told its database; by then all that it imports is loaded.
    for (const module of JSON.parse(process.argv[2])) await import(module).catch(() => undefined);
    console.log([...packages].sort().join(" "));
    process.exit();`;
  const names = JSON.stringify(modules.map((name) => path.join(ROOT, name)));
  const args = ["--input-type=module", "-e", script, import.meta.filename, names];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
  return stdout.trim().split(" ");
}

const POSTGRES =
  "pg pg-connection-string pg-int8 pg-pool pg-protocol pg-types pgpass postgres-array postgres-bytea postgres-date postgres-interval split2 xtend";
/** What pg-boss brings, of which only its queues are used. */
const BOSS = "cron-parser luxon pg-boss rrule-temporal serialize-error non-error type-fest";
const LOG =
  "@pinojs/redact atomic-sleep on-exit-leak-free pino pino-std-serializers quick-format-unescaped real-require";
const MORE_LOG = "safe-stable-stringify sonic-boom thread-stream";
const METRICS = "@opentelemetry/api bintrees prom-client tdigest";

const PROCESS = [POSTGRES, BOSS, LOG, MORE_LOG, METRICS, "zod @marcbachmann/cel-js"].join(" ").split(" ");

/** A package more is megabytes in each worker for as long as it lives: it had better be loaded when it is needed. */
test("a fresh worker has loaded only what every worker needs", async () => {
  const loaded = await packagesOf("worker/worker/main.ts", "lib/executors/registry.ts");
  expect(loaded.filter((name) => !PROCESS.includes(name))).toEqual([]);
  expect(loaded).toContain("pg-boss");
});

test("a fresh scheduler has, but for what it reads DAG files with, the same", async () => {
  const loaded = await packagesOf("worker/scheduler/main.ts");
  expect(loaded.filter((name) => ![...PROCESS, "yaml"].includes(name))).toEqual([]);
});

test("the thread that renews leases has loaded a client of Postgres and nothing else", async () => {
  const loaded = await packagesOf("worker/worker/heartbeat/thread.ts");
  expect(loaded.filter((name) => !POSTGRES.split(" ").includes(name))).toEqual([]);
  expect(loaded).toContain("pg");
});

test("the command of a worker loads no other command", async () => {
  const loaded = await packagesOf("cli/main.ts", "cli/worker.ts");
  expect(loaded.filter((name) => !["commander", "zod"].includes(name))).toEqual([]);
});
