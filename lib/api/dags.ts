import type { getDag, listDags, triggerDag } from "#lib/contract/dags.ts";
import { AppError } from "#lib/domain/errors.ts";
import { findDag, listDags as readDags } from "#lib/db/dag-reads.ts";
import { startRun } from "#lib/engine/start-run.ts";
import { requireRun } from "./dag-runs.ts";
import type { Handlers } from "./handler.ts";

type Operations = { listDags: typeof listDags; getDag: typeof getDag; triggerDag: typeof triggerDag };

export const dagHandlers: Handlers<Operations> = {
  async listDags({ query }, deps) {
    return { status: 200, body: await readDags(deps.prisma, query) };
  },

  async getDag({ params }, deps) {
    const dag = await findDag(deps.prisma, params.dagId);
    if (dag === undefined) throw new AppError("dag_not_found", `There is no DAG "${params.dagId}".`);
    return { status: 200, body: dag };
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
};
