import { Environment } from "@marcbachmann/cel-js";
import { FUNCTIONS } from "./functions.ts";

/** What an expression may name. */
export const ROOTS = {
  params: "The values of the run, with the params' defaults.",
  outputs: "The outputs of the tasks in `dependsOn`, by task id.",
  xcoms: "What else the tasks in `dependsOn` have pushed, by task id and key.",
  run: "The run: id, dagId, triggerKind, and three timestamps: logicalDate, intervalStart, intervalEnd.",
  task: "The task: id, attempt, and attemptId, the key to hand to other systems.",
  secrets:
    "The secrets of the worker, by name; only known while the task runs. In `env` and in what is no program text.",
} as const;
export type Root = keyof typeof ROOTS;

/** What `run` and `task` have. */
export const MEMBERS = {
  run: ["id", "dagId", "logicalDate", "intervalStart", "intervalEnd", "triggerKind"],
  task: ["id", "attempt", "attemptId"],
} as const;

/** Structural limits: with them and without nested macros, an expression's cost grows with its input at most. */
const LIMITS = { maxAstNodes: 1_000, maxDepth: 50, maxListElements: 500, maxMapEntries: 500, maxCallArguments: 16 };

const number = (value: number | bigint): number => Number(value);

/** JSON has one kind of number, so a whole one may meet a fraction. */
const MIXED = {
  "+": (a: number | bigint, b: number | bigint) => number(a) + number(b),
  "-": (a: number | bigint, b: number | bigint) => number(a) - number(b),
  "*": (a: number | bigint, b: number | bigint) => number(a) * number(b),
  "/": (a: number | bigint, b: number | bigint) => number(a) / number(b),
};

function createEnvironment(): Environment {
  const environment = new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: false,
    limits: LIMITS,
  });
  for (const root of Object.keys(ROOTS)) environment.registerVariable(root, "map");
  for (const { signature, handler } of FUNCTIONS) environment.registerFunction(signature, handler);
  for (const [operator, apply] of Object.entries(MIXED)) {
    environment.registerOperator(`int ${operator} double`, apply);
    environment.registerOperator(`double ${operator} int`, apply);
  }
  return environment;
}

export const ENVIRONMENT = createEnvironment();
