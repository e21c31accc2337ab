import type { Json } from "#lib/domain/canonical.ts";
import { buildGraph } from "#lib/domain/graph.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { TASK_TYPES } from "#lib/domain/model/task-types.ts";
import { isDecidedBySuccesses } from "#lib/domain/trigger-rules.ts";
import type { Tx } from "./pool.ts";

/** A version's tasks and edges as rows, with what transitions would otherwise have to work out each time. */
export async function insertVersionTasks(
  tx: Tx,
  versionId: string,
  { tasks }: DagSpec,
  compact: readonly { [key: string]: Json }[],
): Promise<void> {
  const graph = buildGraph(tasks);
  const plain = tasks.map((task) => isDecidedBySuccesses(task.triggerRule));
  await tx.query(
    `insert into sluice.dag_task (version_id, ord, task_id, type, queue, slot_class, gate, starts_ready, is_leaf,
       wakes_settling, spec)
     select $1, t.ord - 1, t.id, t.type, t.queue, t.slot_class, t.gate, t.starts_ready, t.is_leaf, t.wakes_settling, t.spec
       from rows from (unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::int[]),
                       unnest($7::bool[]), unnest($8::bool[]), unnest($9::bool[]), unnest($10::jsonb[]))
            with ordinality t(id, type, queue, slot_class, gate, starts_ready, is_leaf, wakes_settling, spec, ord)`,
    [
      versionId,
      tasks.map((task) => task.id),
      tasks.map((task) => task.type),
      tasks.map((task) => task.queue),
      tasks.map((task) => TASK_TYPES[task.type].slotClass),
      // One that no count of successes can reach, when they do not decide.
      graph.parents.map((parents, ord) => parents.length + (plain[ord]! ? 0 : 1)),
      tasks.map((task, ord) => graph.parents[ord]!.length === 0 || task.triggerRule === "always"),
      graph.children.map((children) => children.length === 0),
      graph.children.map((children) => children.some((child) => !plain[child]!)),
      compact.map((task) => JSON.stringify(task)),
    ],
  );
  const edges = graph.children.flatMap((children, from) => children.map((to) => [from, to] as const));
  await tx.query(
    `insert into sluice.dag_edge (version_id, from_ord, to_ord) select $1, * from unnest($2::int[], $3::int[])`,
    [versionId, edges.map(([from]) => from), edges.map(([, to]) => to)],
  );
}
