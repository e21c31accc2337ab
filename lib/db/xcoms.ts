import type { Json } from "#lib/domain/canonical.ts";
import type { Db } from "./pool.ts";

/** The outputs of a task instance's parents, by task id; a parent that left none is absent. */
export async function parentOutputs(db: Db, taskInstanceId: string): Promise<Record<string, Json>> {
  const { rows } = await db.query<{ taskId: string; value: Json }>({
    name: "parent-outputs",
    text: `
      select t.task_id as "taskId", x.value
        from sluice.dag_run r
        join sluice.dag_task c on c.version_id = r.version_id and c.ord = $1::bigint & 1048575
        join sluice.dag_task t on t.version_id = r.version_id and t.ord = any (c.parents)
        join sluice.xcom x on x.task_instance_id = r.id << 20 | t.ord and x.key = 'return_value'
       where r.id = $1::bigint >> 20`,
    values: [taskInstanceId],
  });
  return Object.fromEntries(rows.map((row) => [row.taskId, row.value]));
}

/** What the tasks of a run have left as their outputs, by task instance. */
export async function runOutputs(db: Db, runId: string): Promise<Map<string, Json>> {
  const { rows } = await db.query<{ id: string; value: Json }>({
    name: "run-outputs",
    text: `select task_instance_id::text as id, value from sluice.xcom
            where task_instance_id >= $1::bigint << 20 and task_instance_id < ($1::bigint + 1) << 20
              and key = 'return_value'`,
    values: [runId],
  });
  return new Map(rows.map((row) => [row.id, row.value]));
}
