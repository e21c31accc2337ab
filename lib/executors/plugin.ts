import { z } from "zod";
import { messageOf } from "#lib/domain/errors.ts";
import { Text, TypeName } from "#lib/domain/model/names.ts";
import { taskFields } from "#lib/domain/model/task.ts";
import { builtInType } from "#lib/domain/model/task-types.ts";
import { ICON_NAMES, isIconName } from "#lib/domain/model/type-facts.ts";
import { ANSWERS_LATER, checkBy, keysOf, type StandardSchema } from "#lib/domain/standard-schema.ts";
import type { ExecutorDefinition } from "./definition.ts";
import type { Executor } from "./executor.ts";
import { runPlugin } from "./run-plugin.ts";

const isFunction = (value: unknown): boolean => typeof value === "function";

function isSchema(value: unknown): boolean {
  const standard: unknown = value === null || value === undefined ? undefined : Reflect.get(Object(value), "~standard");
  return typeof standard === "object" && standard !== null && "validate" in standard && isFunction(standard.validate);
}

/** No more than what a path of lines needs: it goes into a page. */
const DRAWING = /^[Mm][\d\s,.+\-eMmLlHhVvCcSsQqTtAaZz]{3,2000}$/;

const Definition = z.strictObject({
  type: TypeName,
  displayName: Text(64).min(1),
  icon: z
    .string()
    .refine(
      (icon) => isIconName(icon) || DRAWING.test(icon),
      `must be one of ${ICON_NAMES.join(", ")}, or the path of a drawing like "M4 12h16"`,
    )
    .default("puzzle"),
  about: Text(256).min(1),
  config: z.custom<StandardSchema>(
    isSchema,
    "must be a schema of zod 3.24 or newer, or another with standardschema.dev",
  ),
  slotClass: z.enum(["inline", "process"]).default("inline"),
  shorthand: z.string().min(1).optional(),
  visible: z.array(z.string().min(1)).max(64).default([]),
  run: z.custom<ExecutorDefinition["run"]>(isFunction, "must be a function"),
});

export type ReadExecutor = { ok: true; executor: Executor } | { ok: false; problems: string[] };

/** The executor that a plugin describes, or all that is wrong with the description. Never throws. */
export function readExecutor(definition: unknown): ReadExecutor {
  const parsed = Definition.safeParse(definition);
  if (!parsed.success)
    return { ok: false, problems: parsed.error.issues.map(({ path, message }) => [...path, message].join(": ")) };
  const { run, ...facts } = parsed.data;
  const problems = [...nameProblems(facts.type), ...memberProblems(facts)];
  if (problems.length > 0) return { ok: false, problems };
  const described = { ...facts, shorthand: facts.shorthand };
  return {
    ok: true,
    executor: { ...described, run: (context, config) => runPlugin(facts.type, run, context, config) },
  };
}

function nameProblems(type: string): string[] {
  const another = `give it a name of its own, like "acme-${type}"`;
  if (builtInType(type) !== undefined) return [`type: "${type}" is a built-in type; ${another}`];
  return Object.hasOwn(taskFields, type) ? [`type: "${type}" is an option of tasks; ${another}`] : [];
}

function memberProblems({
  config,
  shorthand,
  visible,
}: Pick<z.output<typeof Definition>, "config" | "shorthand" | "visible">): string[] {
  const probe = checkBy(config, {});
  if (!probe.ok && probe.issues[0]?.message === ANSWERS_LATER) return [`config: ${ANSWERS_LATER}`];
  const members = keysOf(config, []);
  // Not every library tells.
  if (members === undefined) return [];
  const named = [
    ...(shorthand === undefined ? [] : [["shorthand", shorthand]]),
    ...visible.map((key) => ["visible", key]),
  ];
  return named
    .filter(([, member]) => !members.includes(member!))
    .map(
      ([where, member]) =>
        `${where}: "${member}" is no member of its config, which has ${members.join(", ") || "none"}`,
    );
}

/** Why a plugin's code is not to be used, in the words of what it threw and where. */
export function describeThrown(error: unknown, file: string): string {
  const frame =
    error instanceof Error ? (error.stack ?? "").split("\n").find((line) => line.includes(file)) : undefined;
  const place = frame === undefined ? undefined : /:(\d+(?::\d+)?)\)?$/.exec(frame.trim())?.[1];
  const name = error instanceof Error ? `${error.name}: ` : "";
  return `${name}${messageOf(error)}${place === undefined ? "" : ` (line ${place})`}`;
}
