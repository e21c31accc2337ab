import { graphProblems } from "../graph.ts";
import type { DagSpec } from "../model/dag.ts";
import { expressionProblems } from "./expression-problems.ts";
import { FileDag } from "./schema.ts";
import { toSpec } from "./to-spec.ts";

/** Everything that is wrong with a definition made by a program, one line for each. */
export class DefinitionError extends Error {
  readonly problems: readonly string[];

  constructor(dagId: unknown, problems: readonly string[]) {
    super(`DAG ${JSON.stringify(dagId)} is not valid:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.name = "DefinitionError";
    this.problems = problems;
  }
}

/** The model that the data of a definition file means. Throws a `DefinitionError`. */
export function dataToSpec(data: { id: unknown; tasks: readonly { id?: unknown }[] }): DagSpec {
  const parsed = FileDag.safeParse(data);
  if (!parsed.success) {
    throw new DefinitionError(
      data.id,
      parsed.error.issues.map((issue) => `${place(data, issue.path)}${issue.message}`),
    );
  }
  const spec = toSpec(parsed.data, data);
  const problems = [...graphProblems(spec.tasks), ...expressionProblems(spec)];
  if (problems.length > 0)
    throw new DefinitionError(
      data.id,
      problems.map(({ path, message }) => `${place(data, path)}${message}`),
    );
  return spec;
}

/** Where in the definition, with the task's id instead of its number. */
function place(data: { tasks: readonly { id?: unknown }[] }, path: readonly PropertyKey[]): string {
  const isTask = path[0] === "tasks" && typeof path[1] === "number";
  const task = isTask ? `task ${JSON.stringify(data.tasks[path[1] as number]?.id)}` : undefined;
  const rest = (isTask ? path.slice(2) : path).map(String).join(".");
  const parts = [task, rest === "" ? undefined : rest].filter((part) => part !== undefined);
  return parts.length === 0 ? "" : `${parts.join(" ")}: `;
}
