import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Continued, finishRunning } from "#lib/db/finishes.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { insertAction, type NewAction } from "#lib/db/run-actions.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { buildGraph, topologicalOrder } from "#lib/domain/graph.ts";
import { slotOf } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { TRIGGER_RULES } from "#lib/domain/model/task.ts";
import { runVerdict, settle } from "#lib/domain/settle.ts";
import { isFinalTaskState, type TaskState } from "#lib/domain/states.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, keepsLease, runState, start, states, worker } from "#lib/testing/engine.ts";
import { admit } from "./admit.ts";
import { carryOutSlice } from "./carry-out-actions.ts";
import { followUp } from "./follow-up.ts";
import { settleRun } from "./settle-run.ts";

/** The pure rules and the SQL, side by side on random DAGs: after every step both must say the same. */

const database = testDatabase();

const dags = fc
  .array(fc.record({ parents: fc.array(fc.nat(1_000), { maxLength: 3 }), rule: fc.constantFrom(...TRIGGER_RULES) }), {
    minLength: 2,
    maxLength: 9,
  })
  .map((rolls) =>
    rolls.map(({ parents, rule }, ord) => ({
      id: `t${ord}`,
      type: "bash" as const,
      config: { command: "true" },
      dependsOn: ord === 0 ? [] : [...new Set(parents.map((roll) => `t${roll % ord}`))],
      triggerRule: rule,
    })),
  );

type Step = {
  pick: number;
  batch: number;
  end: "success" | "failed" | "skipped" | "again";
  /** The worker goes on with a child where it may. */
  onward: boolean;
  act: number;
  /** How many tasks a slice of an action or of a settling writes. */
  most: number;
};
const steps = fc.array(
  fc.record({
    pick: fc.nat(1_000),
    batch: fc.integer({ min: 1, max: 3 }),
    end: fc.constantFrom<Step["end"]>("success", "success", "success", "failed", "skipped", "again"),
    onward: fc.boolean(),
    act: fc.nat(1_000),
    most: fc.constantFrom(1, 2, 3, 100),
  }),
  { minLength: 40, maxLength: 40 },
);

/** What has been handed out is the same to the rules as what is ready. */
const seen = (state: TaskState): TaskState => (state === "queued" || state === "running" ? "ready" : state);

let runs = 0;

/** A slow machine plays fewer examples. */
const ENOUGH_MS = 90_000;

async function invariants(): Promise<void> {
  const findings = await inTx(database.pool, checkInvariants);
  expect(findings.filter(({ broken }) => broken.length > 0)).toEqual([]);
}

test("random runs, with people marking, clearing and killing on the way, go as the rules say", async () => {
  const { deps } = database;
  const w = await worker(deps, "w", 1_000);
  await keepsLease(deps, w);
  const until = performance.now() + ENOUGH_MS;
  await fc.assert(
    fc.asyncProperty(dags, steps, async (tasks, script) => {
      if (performance.now() > until) return;
      // What an example that failed has left must not be in the way of the smaller ones tried after it.
      await deps.pool.query(
        "truncate sluice.dag_run, sluice.run_progress, sluice.run_action, sluice.parent_ends, sluice.task_instance, sluice.live_attempt, sluice.deferral, sluice.attempt, sluice.dead_letter",
      );
      const id = `random-${++runs}`;
      const spec = DagSpec.parse({ id, tasks });
      await inTx(deps.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
      const graph = buildGraph(spec.tasks);
      const ruled = { ...graph, order: topologicalOrder(graph), rules: tasks.map((task) => task.triggerRule) };
      const isLeaf = graph.children.map((children) => children.length === 0);
      const runId = await start(deps, id);
      let model = settle(
        ruled,
        tasks.map((): TaskState => "waiting"),
      );
      const held = new Map<number, Continued>();
      /** An attempt began, or a person marked it, since it was last cleared. */
      const begun = new Set<number>();

      const hold = (claimed: Continued): void => {
        held.set(slotOf(claimed.taskInstanceId), claimed);
        begun.add(slotOf(claimed.taskInstanceId));
      };

      const agree = async (): Promise<void> => {
        for (const claimed of await claimAll(deps, w)) hold(claimed);
        expect((await states(deps, runId)).map(seen)).toEqual(model);
        const isOpen = model.some((state) => !isFinalTaskState(state));
        expect(await runState(deps, runId)).toBe(isOpen ? "running" : runVerdict(isLeaf, model));
        await invariants();
      };

      const work = async ({ pick, batch, end, onward, most }: Step): Promise<void> => {
        const ready = model.flatMap((state, ord) => (state === "ready" ? [ord] : []));
        const chosen = [...new Set(Array.from({ length: batch }, (_, n) => ready[(pick + n) % ready.length]!))];
        const finished = await finishRunning(
          deps.pool,
          chosen.map((ord) => {
            const { taskInstanceId: task, token } = held.get(ord)!;
            if (end === "again") return { taskInstanceId: task, token, state: "failed", reason: "EXIT", retryInMs: 0 };
            const next = onward ? { attemptId: randomUUID(), token: randomUUID() } : undefined;
            return { taskInstanceId: task, token, state: end, reason: "EXIT", next };
          }),
          "worker:w",
          30_000,
        );
        expect(finished.accepted).toHaveLength(chosen.length);
        for (const claimed of finished.continued.values()) hold(claimed);
        for (let open = finished.unsettledRuns; open.length > 0;) {
          open = (await settleRun(deps, runId, { most })).unsettledRuns.slice();
          await invariants();
        }
        await admit(deps);
        if (end === "again") return;
        model = settle(
          ruled,
          model.map((state, ord) => (chosen.includes(ord) ? end : state)),
        );
      };

      const below = (ord: number): Set<number> => {
        const reached = new Set([ord]);
        for (const one of reached) for (const child of graph.children[one]!) reached.add(child);
        return reached;
      };

      /** Answers whether it was something a person may do now. */
      const interfere = async ({ act, most }: Step): Promise<void> => {
        const ord = act % tasks.length;
        const does = async (action: { kind: "clear" | "mark" | "kill"; args: object }): Promise<void> => {
          expect(await insertAction(deps.pool, runId, { ...action, actor: "anna", reason: null } as NewAction)).toBe(
            true,
          );
          for (let isOpen = true; isOpen;) {
            const { outcome, effects } = await carryOutSlice(deps, runId, { most });
            await followUp(deps, effects);
            await invariants();
            isOpen = outcome === "open";
          }
        };
        const kind = Math.floor(act / tasks.length) % 12;
        if (kind === 0) {
          await does({ kind: "clear", args: { slots: [ord] } });
          const again = below(ord);
          for (const one of again) begun.delete(one);
          model = settle(
            ruled,
            model.map((state, one): TaskState => (again.has(one) ? "waiting" : state)),
          );
        } else if (kind === 1) {
          if (model[ord] === "success") return;
          await does({ kind: "mark", args: { slot: ord, to: "success" } });
          const reached = below(ord);
          model = settle(
            ruled,
            model.with(ord, "success").map((state, one): TaskState => {
              const isDecided = (state === "upstream_failed" || state === "skipped") && !begun.has(one);
              return reached.has(one) && isDecided ? "waiting" : state;
            }),
          );
          begun.add(ord);
        } else if (kind === 2 && model[ord] === "ready") {
          await does({ kind: "kill", args: { slot: ord } });
          model = settle(ruled, model.with(ord, "failed"));
        }
      };

      await agree();
      for (const step of script) {
        await interfere(step);
        await agree();
        if (!model.includes("ready")) break;
        await work(step);
        await agree();
      }
    }),
    { numRuns: 120 },
  );
}, 600_000);
