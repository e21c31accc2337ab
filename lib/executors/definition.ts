import type { IconName } from "#lib/domain/model/type-facts.ts";
import type { OutputOf, StandardSchema } from "#lib/domain/standard-schema.ts";
import type { Outcome } from "./executor.ts";
import type { TaskContext } from "./task-context.ts";

/** A type of task as a plugin describes it: what people see, what its config is, and how it runs. */
export type ExecutorDefinition<
  S extends StandardSchema = StandardSchema,
  Out = unknown,
  Short extends string = string,
> = {
  /** The key under which a task of this type has its config; a prefix of one's own keeps it apart from later options of tasks. */
  type: string;
  displayName: string;
  /** A name, or the path of a drawing of 24 by 24 in lines: the `d` of an SVG's `path`. */
  icon?: IconName | (string & {});
  /** One sentence. */
  about: string;
  /** A schema of zod (3.24 or newer), valibot, arktype or another with https://standardschema.dev that answers at once. */
  config: S;
  /** `process` for one that spawns programs; without it, `inline`: it waits for others, and many run at once. */
  slotClass?: "inline" | "process";
  /** The member of the config that a plain text stands for. */
  shorthand?: Short;
  /** Members of the config that other users of the machine can read while the task runs: they take no secrets. */
  visible?: readonly string[];
  /**
   * Runs one attempt. What can be expected to fail is an outcome; what is thrown ends the attempt as EXCEPTION. May be
   * called again for the same work: another attempt after a failure, or after a worker was lost.
   */
  run(task: TaskContext, config: OutputOf<S>): Promise<Outcome<Out>>;
};
