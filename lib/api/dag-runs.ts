import type { WebDeps } from "#lib/boot.ts";
import type { DagRun, getDagRun, listDagRuns, listRunTasks, watchDagRun } from "#lib/contract/dag-runs.ts";
import { findRun, listRuns, listRunTasks as readTasks } from "#lib/db/run-reads.ts";
import { AppError } from "#lib/domain/errors.ts";
import type { Handlers } from "./handler.ts";
import { watchRun } from "./watch-run.ts";

type Operations = {
  listDagRuns: typeof listDagRuns;
  getDagRun: typeof getDagRun;
  listRunTasks: typeof listRunTasks;
  watchDagRun: typeof watchDagRun;
};

export const dagRunHandlers: Handlers<Operations> = {
  async listDagRuns({ query }, deps) {
    return { status: 200, body: await listRuns(deps.engine.pool, query) };
  },

  async getDagRun({ params }, deps) {
    return { status: 200, body: await requireRun(deps, params.runId) };
  },

  async listRunTasks({ params }, deps) {
    await requireRun(deps, params.runId);
    return { status: 200, body: { items: await readTasks(deps.engine.pool, params.runId) } };
  },

  async watchDagRun({ params, signal, actor }, deps) {
    await requireRun(deps, params.runId);
    return watchRun(deps, params.runId, signal, actor);
  },
};

/** The run, or `run_not_found`. */
export async function requireRun(deps: WebDeps, runId: string): Promise<DagRun> {
  const run = await findRun(deps.engine.pool, runId);
  if (run === undefined) throw new AppError("run_not_found", `There is no run ${runId}.`);
  return run;
}
