import { TaskSpec } from "#lib/domain/model/task.ts";
import { builtInType } from "#lib/domain/model/task-types.ts";

/** Longer texts are read each time, so that what is kept has at most some megabytes. */
const MAX_TEXT = 4_096;
const MAX_KEPT = 1_000;

/**
 * Reads tasks as their versions have them, in the compact form, and keeps the last ones: the model's check of one takes a tenth of
 * a millisecond, and runs of a DAG have the same tasks again and again. What is kept is given to several attempts, so it holds only
 * built-in types, whose executors change nothing of it. Throws what `TaskSpec.parse` throws.
 */
export function createTaskSpecs(): { read(task: unknown): TaskSpec } {
  const kept = new Map<string, TaskSpec>();
  return {
    read(task) {
      const text = JSON.stringify(task);
      const known = kept.get(text);
      if (known !== undefined) return known;
      const spec = TaskSpec.parse(task);
      if (text.length > MAX_TEXT || builtInType(spec.type) === undefined) return spec;
      if (kept.size >= MAX_KEPT) kept.delete(kept.keys().next().value!);
      kept.set(text, spec);
      return spec;
    },
  };
}
