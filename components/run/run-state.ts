import type { RunChange, RunSnapshot } from "#lib/contract/dag-runs.ts";

/** The run after a `change` event. Task instances that did not change keep their identity. */
export function applyChange(before: RunSnapshot, change: RunChange): RunSnapshot {
  const changed = new Map((change.tasks ?? []).map((task) => [task.id, task]));
  return {
    run: change.run ?? before.run,
    tasks: changed.size === 0 ? before.tasks : before.tasks.map((task) => changed.get(task.id) ?? task),
  };
}
