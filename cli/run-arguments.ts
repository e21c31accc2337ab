import { InvalidArgumentError } from "commander";
import type { DagRun } from "#lib/contract/dag-runs.ts";
import { isId } from "#lib/domain/ids.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { trouble } from "./exit.ts";

export function parseRunId(text: string): string {
  if (isId(text)) return text;
  throw new InvalidArgumentError("Give a run's number, like 42.");
}

export function parseConf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new InvalidArgumentError(`Give a JSON object, like '{"day": "2026-01-31"}'.`);
}

export function parseTime(text: string): Date {
  const time = new Date(text);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError("Give a time like 2026-01-31T06:00:00Z.");
}

/** Collects an option that may be given several times. */
export function several(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** The run; ends the process when there is none. */
export async function runOrExit({ pool }: EngineDeps, runId: string): Promise<DagRun> {
  const { findRun } = await import("#lib/db/run-reads.ts");
  return (await findRun(pool, runId)) ?? trouble(`there is no run ${runId}; \`sluice runs list\` lists them`);
}

/** The task instance's id; ends the process when the run or the task does not exist. */
export async function taskOrExit(deps: EngineDeps, runId: string, taskId: string): Promise<string> {
  await runOrExit(deps, runId);
  const { listRunTasks } = await import("#lib/db/run-reads.ts");
  const tasks = await listRunTasks(deps.pool, runId);
  const found = tasks.find((task) => task.taskId === taskId);
  return (
    found?.id ?? trouble(`run ${runId} has no task "${taskId}"; it has: ${tasks.map((task) => task.taskId).join(", ")}`)
  );
}
