import type { WebDeps } from "#lib/boot.ts";
import type { DagDetail, getDag, listDags, pauseDag, triggerDag, unpauseDag } from "#lib/contract/dags.ts";
import type { previewSchedule } from "#lib/contract/schedules.ts";
import { AppError } from "#lib/domain/errors.ts";
import { findDag, listDags as readDags } from "#lib/db/dag-reads.ts";
import { previewSchedules } from "#lib/db/dag-schedule-reads.ts";
import { pauseDag as pause, unpauseDag as unpause } from "#lib/engine/pause.ts";
import { startRun } from "#lib/engine/start-run.ts";
import { requireRun } from "./dag-runs.ts";
import type { Handlers } from "./handler.ts";

type Operations = {
  listDags: typeof listDags;
  getDag: typeof getDag;
  triggerDag: typeof triggerDag;
  pauseDag: typeof pauseDag;
  unpauseDag: typeof unpauseDag;
  previewSchedule: typeof previewSchedule;
};

export const dagHandlers: Handlers<Operations> = {
  async listDags({ query }, deps) {
    return { status: 200, body: await readDags(deps.prisma, deps.engine.pool, query) };
  },

  async getDag({ params }, deps) {
    return { status: 200, body: await requireDag(deps, params.dagId) };
  },

  async triggerDag({ params, body, headers, actor }, deps) {
    const { runId, created } = await startRun(deps.engine, {
      dagId: params.dagId,
      conf: body.conf ?? {},
      logicalDate: body.logicalDate === undefined ? undefined : new Date(body.logicalDate),
      note: body.note,
      triggerKind: actor.kind === "user" ? "manual" : "api",
      actor: actor.name,
      idempotencyKey: headers["idempotency-key"],
    });
    const run = await requireRun(deps, runId);
    return created ? { status: 201, body: run } : { status: 200, body: run };
  },

  async pauseDag({ params, actor }, deps) {
    await pause(deps.engine, params.dagId, actor.name);
    return { status: 200, body: await requireDag(deps, params.dagId) };
  },

  async unpauseDag({ params, body }, deps) {
    await unpause(deps.engine, params.dagId, { catchesUp: body.catchUp });
    return { status: 200, body: await requireDag(deps, params.dagId) };
  },

  async previewSchedule({ params, query }, deps) {
    await requireDag(deps, params.dagId);
    return { status: 200, body: await previewSchedules(deps.engine.pool, params.dagId, query.count) };
  },
};

/** The DAG, or `dag_not_found`. */
async function requireDag(deps: WebDeps, dagId: string): Promise<DagDetail> {
  const dag = await findDag(deps.prisma, deps.engine.pool, dagId);
  if (dag === undefined) throw new AppError("dag_not_found", `There is no DAG "${dagId}".`);
  return dag;
}
