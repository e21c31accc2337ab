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

/** Structural limits, so that checking an expression is cheap; what it does with its values is counted (costs.ts). */
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
  keepTypesFew(environment);
  return environment;
}

/** What of the library is changed: see `keepTypesFew`. Its evaluator and registry are not in its types. */
type Evaluator = {
  debugType(value: unknown): unknown;
  debugTypeDeep: (value: unknown) => unknown;
  registry: {
    getListType: (item: Type) => Type;
    getMapType: (key: Type, value: Type) => Type;
  };
  dynType: Type;
};
type Type = { kind: string };
type CallNode = { handle: (values: unknown[], ast: unknown, evaluator: Evaluator) => unknown };

/**
 * The library makes a type of the shape of each value, to the depth of it, and keeps it for as long as the process lives: data of
 * many shapes would fill the memory of a worker, and the keys of a mapping were listed to look at the first. So what is in a list or
 * a mapping is of any type, unless it is a plain value of the expression itself.
 */
function keepTypesFew(environment: Environment): void {
  const parsed = environment.parse("toJson(1)");
  parsed.check();
  const call = parsed.ast as unknown as CallNode;
  const { handle } = call;
  call.handle = (values, ast, evaluator) => {
    const { registry, dynType } = evaluator;
    const [listOf, mapOf] = [registry.getListType.bind(registry), registry.getMapType.bind(registry)];
    const flat = (type: Type): Type => (type.kind === "list" || type.kind === "map" ? dynType : type);
    evaluator.debugTypeDeep = (value) => evaluator.debugType(value);
    registry.getListType = (item) => listOf(flat(item));
    registry.getMapType = (key, value) => mapOf(flat(key), flat(value));
    return handle(values, ast, evaluator);
  };
  parsed();
}

export const ENVIRONMENT = createEnvironment();
