import { TASK_TYPES } from "#lib/domain/model/task-types.ts";
import type { BuiltIn } from "./executor.ts";
import { readAddress } from "./sql-address.ts";
import { failureOf } from "./sql-failure.ts";
import { type Answer, runQuery } from "./sql-query.ts";

/**
 * A statement for a database, from inside the worker. Its output are the rows, or how many there were of a statement
 * that gives none. Values are bound, never pasted.
 */
export const sql: BuiltIn<"sql"> = {
  type: "sql",
  ...TASK_TYPES.sql,
  async run({ attempt, signal, timeoutMs, log }, { connection, query, params, maxRows }) {
    const read = await readAddress(connection);
    if (!read.ok) return { kind: "failed", reason: "SQL_ERROR", error: read.error };
    const started = performance.now();
    try {
      const answer = await runQuery(
        read.address,
        { text: query, values: params, maxRows },
        {
          name: `sluice/${attempt.dagId}/${attempt.taskId}`,
          timeoutMs,
          signal,
          onNotice: (text) => log("system", `${text}\n`),
        },
      );
      log("system", `${summary(answer)} in ${Math.round(performance.now() - started)} ms\n`);
      return { kind: "success", output: answer.rows ?? { rowCount: answer.rowCount } };
    } catch (error) {
      if (signal.aborted) return { kind: "failed", reason: "CANCELLED", error: "the query was cancelled" };
      return failureOf(error, query);
    }
  },
};

function summary({ command, rowCount }: Answer): string {
  return `${command || "nothing"}: ${rowCount} ${rowCount === 1 ? "row" : "rows"}`;
}
