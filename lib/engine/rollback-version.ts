import { AppError } from "#lib/domain/errors.ts";
import { inTx } from "#lib/db/tx.ts";
import { republishVersion } from "#lib/db/versions.ts";
import type { EngineDeps } from "./deps.ts";
import { effects } from "./effects.ts";
import { followUp } from "./follow-up.ts";

/**
 * Makes an earlier version's spec the current one again, as a new version. Runs stay with the version they have. The
 * file stays as it is, and becomes a version again when it changes. Answers the new version's number. Throws
 * `dag_not_found`, `not_found` for the version, and `invalid_request` when it is what the DAG has already.
 */
export async function rollbackVersion(
  deps: EngineDeps,
  request: { dagId: string; toNumber: number; actor: string },
): Promise<number> {
  const { dagId, toNumber } = request;
  const result = await inTx(deps.pool, (tx) => republishVersion(tx, dagId, toNumber, request.actor));
  switch (result.kind) {
    case "published":
      deps.notifier.announce("sluice_schedules", [dagId]);
      // Its limit of active runs may be higher.
      await followUp(deps, effects({ dagsWithRoom: [dagId] }));
      return result.number;
    case "no_dag":
      throw new AppError("dag_not_found", `There is no DAG "${dagId}".`);
    case "no_version":
      throw new AppError("not_found", `DAG "${dagId}" has no version ${toNumber}.`);
    case "same":
      throw new AppError("invalid_request", `Version ${toNumber} is what DAG "${dagId}" has already.`);
  }
}
