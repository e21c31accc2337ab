import type { RunChange, RunSnapshot } from "#lib/contract/dag-runs.ts";

/** What `now` has that `before` had not, in the form of a `change` event; undefined when nothing is different. */
export function runDifference(before: RunSnapshot, now: RunSnapshot): RunChange | undefined {
  const known = new Map(before.tasks.map((task) => [task.id, JSON.stringify(task)]));
  const tasks = now.tasks.filter((task) => known.get(task.id) !== JSON.stringify(task));
  const runChanged = JSON.stringify(before.run) !== JSON.stringify(now.run);
  if (!runChanged && tasks.length === 0) return undefined;
  return { ...(runChanged ? { run: now.run } : {}), ...(tasks.length > 0 ? { tasks } : {}) };
}
