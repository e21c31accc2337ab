import { graphProblems } from "../graph.ts";
import type { DagSpec } from "../model/dag.ts";
import { NO_PLUGINS, type PluginTypes } from "../model/plugin-type.ts";
import { expressionProblems } from "./expression-problems.ts";
import { issueProblems, placeOf } from "./issue-problems.ts";
import { fileDag } from "./schema.ts";
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
export function dataToSpec(
  data: { id: unknown; tasks: readonly { id?: unknown }[] },
  plugins: PluginTypes = NO_PLUGINS,
): DagSpec {
  const schema = fileDag(plugins);
  const parsed = schema.safeParse(data);
  if (!parsed.success) {
    const problems = issueProblems(schema, data, parsed.error.issues);
    throw new DefinitionError(
      data.id,
      problems.map(({ message }) => message),
    );
  }
  const spec = toSpec(parsed.data, data, plugins);
  const problems = [
    ...graphProblems(spec.tasks).map(({ message }) => message),
    ...expressionProblems(spec, plugins).map(({ path, message }) => `${placeOf(data, path)}${message}`),
  ];
  if (problems.length > 0) throw new DefinitionError(data.id, problems);
  return spec;
}
