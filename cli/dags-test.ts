import { Command, InvalidArgumentError } from "commander";
import type { Json } from "#lib/domain/canonical.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import type { RunTimes } from "#lib/domain/run-times.ts";
import { compileSchedules } from "#lib/domain/schedule/compile.ts";
import { manualTimes } from "#lib/domain/schedule/manual-times.ts";
import { plainEnv } from "#lib/env.ts";
import type { LocalRun } from "#worker/dev/local-run.ts";
import { EXIT, trouble, usageIsTrouble } from "./exit.ts";
import { executorsOf } from "./plugins.ts";
import { printJson, printLine } from "./print.ts";
import { readDagOrExit } from "./read-dag.ts";

type Options = {
  params: Record<string, unknown>;
  mock: Map<string, Json>;
  task: string[];
  date?: Date;
  wait?: true;
  json?: true;
};

const EXIT_OF: Record<LocalRun["state"], number> = {
  success: EXIT.yes,
  failed: EXIT.no,
  cancelled: EXIT.interrupted,
};

/** `sluice dags test` */
export function testCommand(): Command {
  return usageIsTrouble(new Command("test"))
    .description("Run a DAG from its file right here, one task after the other: no database, no server, no worker.")
    .argument("<file>", "the definition")
    .option("--params <json>", "what the run is triggered with: an object", parseObject, {})
    .option(
      "--mock <task=json>",
      "do not run the task but give its children this output; repeatable",
      addMock,
      new Map(),
    )
    .option("--task <id>", "run only this task, the others count as succeeded; repeatable", addTo, [])
    .option(
      "--date <time>",
      "the run's logical date (default: now); its interval is then that of the DAG's schedule",
      parseDate,
    )
    .option("--wait", "wait before retries and between looks as long as a worker would")
    .option("--json", "print the run as JSON on stdout, and what happens meanwhile on stderr")
    .addHelpText(
      "after",
      `
Executors, trigger rules, retries, timeouts, params and expressions are those of production. A task sees this
machine's programs and nothing of your environment but PATH and HOME. The run is about what one triggered by hand would be
about. Queues, pools, limits and callbacks play no part; HTTP tasks reach private addresses only with SLUICE_HTTP_ALLOW, and containers see folders of this machine
only with SLUICE_DOCKER_MOUNTS. Secrets come from the file that
SLUICE_SECRETS_FILE names, and are masked in what is printed.

Exit code: 0 the run succeeded, 1 it failed, 2 the definition or an option is wrong, 130 after Ctrl-C.

Examples:
  $ sluice dags test dags/etl.ts
  $ sluice dags test dags/etl.ts --params '{"city": "Oslo"}' --mock 'extract=[{"city": "Oslo", "amount": 3}]'
  $ sluice dags test dags/etl.ts --task transform --mock extract=[]`,
    )
    .action(test);
}

async function test(file: string, options: Options): Promise<void> {
  const loaded = await readDagOrExit(file);
  if (loaded === undefined) return;
  const [{ runLocally }, { liveReport, summary }, { secretsOf }, { placesOf }] = await Promise.all([
    import("#worker/dev/run-locally.ts"),
    import("./dags-test-report.ts"),
    import("#worker/secrets/file.ts"),
    import("#worker/plugins/places.ts"),
  ]);
  const { dag, root, settings } = loaded;
  const live = options.json ? process.stderr : process.stdout;
  const result = await runLocally({
    dag,
    dagsDir: root,
    conf: options.params,
    mocks: options.mock,
    only: options.task,
    times: timesOf(dag.spec, options.date),
    env: plainEnv(),
    httpAllow: settings.httpAllow,
    docker: settings,
    secrets: secretsOf(settings.secretsFile),
    executors: await executorsOf(settings, (problems) => trouble(...problems)),
    plugins: placesOf(settings),
    waits: options.wait ?? false,
    signal: stopSignal(),
    on: liveReport(
      dag.spec.tasks.map((task) => task.id),
      (text) => live.write(text),
    ),
  });
  if (!result.ok) return trouble(...result.problems);
  process.exitCode = EXIT_OF[result.run.state];
  if (options.json) printJson(result.run);
  else for (const line of summary(result.run)) printLine(line);
}

/** As for a run that is triggered by hand, by this machine's clock. */
function timesOf(spec: DagSpec, logicalDate: Date | undefined): RunTimes {
  return manualTimes(compileSchedules(spec), { logicalDate, now: new Date() });
}

/** Aborts when somebody wants this to end. Later signals find the listener too: what runs is still being stopped. */
function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => stopping.abort(new Error("stopped")));
  }
  return stopping.signal;
}

function parseJson(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new InvalidArgumentError(`This is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function parseObject(text: string): Record<string, unknown> {
  const value = parseJson(text);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new InvalidArgumentError(`Give an object, like '{"city": "Oslo"}'.`);
}

function addMock(text: string, before: Map<string, Json>): Map<string, Json> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError(`Give a task and its output, like 'extract={"rows": 3}'.`);
  return new Map(before).set(text.slice(0, at), parseJson(text.slice(at + 1)));
}

function addTo(id: string, before: string[]): string[] {
  return [...before, id];
}

function parseDate(text: string): Date {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) throw new InvalidArgumentError("Give a time, like 2026-01-31T06:00:00Z.");
  return date;
}
