import type { Json } from "#lib/domain/canonical.ts";
import { buildGraph } from "#lib/domain/graph.ts";
import { calledEvents } from "#lib/domain/model/callbacks.ts";
import { type DagSpec, slotClassOf } from "#lib/domain/model/dag.ts";
import { needsOf } from "#lib/domain/needs.ts";
import { resourceAmount } from "#lib/domain/model/resources.ts";
import { isDecidedBySuccesses } from "#lib/domain/trigger-rules.ts";
import type { Tx } from "./pool.ts";

/** A version's tasks as rows, with what transitions would otherwise have to work out each time. */
export async function insertVersionTasks(
  tx: Tx,
  versionId: string,
  spec: DagSpec,
  compact: readonly { [key: string]: Json }[],
): Promise<void> {
  const { tasks } = spec;
  const graph = buildGraph(tasks);
  const plain = tasks.map((task) => isDecidedBySuccesses(task.triggerRule));
  const isCounted = tasks.map((task) => task.triggerRule !== "all_success");
  const workloads = await workloadsOf(tx, spec);
  await tx.query(
    `insert into sluice.dag_task (version_id, ord, task_id, type, workload_id, gate, starts_ready, is_leaf,
       trigger_rule, spec, parents, children, counted_children, calls)
     select $1, t.ord - 1, t.id, t.type, t.workload_id, t.gate, t.starts_ready, t.is_leaf, t.trigger_rule, t.spec,
            t.parents::int[], t.children::int[], t.counted_children::int[], t.calls::text[]
       from rows from (unnest($2::text[]), unnest($3::text[]), unnest($4::int[]), unnest($5::int[]), unnest($6::bool[]),
                       unnest($7::bool[]), unnest($8::text[]), unnest($9::jsonb[]), unnest($10::text[]),
                       unnest($11::text[]), unnest($12::text[]), unnest($13::text[]))
            with ordinality t(id, type, workload_id, gate, starts_ready, is_leaf, trigger_rule, spec, parents,
                              children, counted_children, calls, ord)`,
    [
      versionId,
      tasks.map((task) => task.id),
      tasks.map((task) => task.type),
      workloads,
      // One that no count of successes can reach, when they do not decide.
      graph.parents.map((parents, ord) => parents.length + (plain[ord]! ? 0 : 1)),
      tasks.map((task, ord) => graph.parents[ord]!.length === 0 || task.triggerRule === "always"),
      graph.children.map((children) => children.length === 0),
      tasks.map((task) => task.triggerRule),
      compact.map((task) => JSON.stringify(task)),
      // Arrays of different lengths do not make one array of arrays; as texts they travel in one.
      graph.parents.map(ascending),
      graph.children.map(ascending),
      graph.children.map((children) => ascending(children.filter((child) => isCounted[child]))),
      tasks.map((task) => arrayText(calledEvents(task.callbacks))),
    ],
  );
}

/** Of words without quotes and backslashes: ordinals, labels, types. Quoted, because `null` is one of them. */
const arrayText = (items: readonly (number | string)[]): string => `{${items.map((item) => `"${item}"`).join(",")}}`;

const ascending = (ordinals: readonly number[]): string => arrayText(ordinals.toSorted((a, b) => a - b));

/** The workload of each task, in the tasks' order; what is new is made. */
async function workloadsOf(tx: Tx, { id: dagId, priority, tasks, types }: DagSpec): Promise<number[]> {
  const wanted = tasks.map((task) => ({
    queue: task.queue,
    slotClass: slotClassOf(task, { types }),
    pool: task.pool ?? null,
    slots: task.slots,
    priority: task.priority ?? priority,
    ...resourceAmount(task.resources),
    needs: arrayText(needsOf(task)),
  }));
  const keys = wanted.map((workload) => JSON.stringify(workload));
  const distinct = new Map(wanted.map((workload, index) => [keys[index]!, workload]));
  const { rows } = await tx.query<{ ord: number; id: number }>(
    `with w as (
       select * from rows from (unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::int[]), unnest($6::text[]),
                                unnest($7::int[]), unnest($8::int[]), unnest($9::text[]))
         with ordinality w(queue, slot_class, pool, slots, priority, cpu, memory, needs, ord)),
     made as (
       insert into sluice.workload (dag_id, queue, slot_class, pool, slots, priority, cpu, memory, needs)
       select $1, queue, slot_class, pool, slots, priority, cpu, memory, needs::text[] from w
       -- Writes nothing new, but answers the row that was there.
       on conflict (dag_id, queue, slot_class, pool, slots, priority, cpu, memory, needs) do update set slots = excluded.slots
       returning *)
     select w.ord::int as ord, made.id from w join made
         on (made.queue, made.slot_class, made.slots, made.priority, made.cpu, made.memory, made.needs)
            = (w.queue, w.slot_class, w.slots, w.priority, w.cpu, w.memory, w.needs::text[])
        and made.pool is not distinct from w.pool`,
    [
      dagId,
      ...(["queue", "slotClass", "pool", "slots", "priority", "cpu", "memory", "needs"] as const).map((key) =>
        [...distinct.values()].map((workload) => workload[key]),
      ),
    ],
  );
  const idOf = new Map(rows.map(({ ord, id }) => [[...distinct.keys()][ord - 1]!, id]));
  return keys.map((key) => idOf.get(key)!);
}
