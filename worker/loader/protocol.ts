import type { DefinitionResult } from "#lib/domain/definition/parse.ts";
import path from "node:path";
import { z } from "zod";
import { messageOf } from "#lib/domain/errors.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { PluginType, PluginTypes } from "#lib/domain/model/plugin-type.ts";
import { SLOT_CLASSES } from "#lib/domain/states.ts";
import { type JsonLimits, parseCounted } from "../frames/counted-json.ts";
import type { FrameLimits } from "../frames/frames.ts";

/**
 * Work for an evaluating child: a TypeScript file, the modules that a YAML file's functions name, the text of a file that is
 * data, or a plugin itself.
 */
export type EvaluateRequest =
  | { kind: "typescript"; file: string }
  | { kind: "modules"; file: string; references: { module: string; export: string }[] }
  /** Without `types`, those of the plugins with their schemas, which only their code has. */
  | { kind: "data"; file: string; text: string; types?: PluginTypes }
  | { kind: "plugin"; location: string };

export type Evaluated =
  | {
      ok: true;
      /** Absent for a TypeScript file that holds no DAG. */
      spec?: DagSpec | undefined;
      /** The code, by path below the DAGs folder. */
      files: Record<string, string>;
      /** What the text says. */
      parsed?: DefinitionResult | undefined;
      /** What the plugin brings, without its schemas. */
      types?: PluginType[] | undefined;
    }
  /** `problems` when it is plugins that are to blame. */
  | { ok: false; message: string; problems?: string[] | undefined };

/** To a child, and its answer; the id is the number of the request. */
export const REQUEST = "Q";
export const ANSWER = "V";
/** From a child, once: it has been started, and what it is asked from here on takes its own time. */
export const READY = "H";
/** To the child that runs no code of others: an answer of the other one. */
export const CHECK = "K";

/** Of an answer: a DAG of ten thousand tasks has a tenth of it. */
export const MOST_BYTES = 32 * 1024 * 1024;

export const ANSWERS: FrameLimits = { [ANSWER]: MOST_BYTES, [READY]: 0 };
/** The loader is believed, and has counted what it sends. */
export const REQUESTS: FrameLimits = { [REQUEST]: 2 ** 31, [CHECK]: MOST_BYTES };

const Problem = z.strictObject({
  file: z.string(),
  line: z.int().min(1),
  column: z.int().min(1),
  message: z.string(),
  snippet: z.string().optional(),
  found: z.string().optional(),
  expected: z.string().optional(),
});

const Type = z.strictObject({
  type: z.string(),
  about: z.string(),
  displayName: z.string(),
  icon: z.string(),
  slotClass: z.enum(SLOT_CLASSES),
  shorthand: z.string().optional(),
  visible: z.array(z.string()),
  jsonSchema: z.record(z.string(), z.unknown()).optional(),
});

/** A DAG of ten thousand tasks has a quarter of it. Each value may be a mistake that the check below keeps in memory. */
export const ANSWER_LIMITS: JsonLimits = { members: 50_000, elements: 50_000, all: 1_000_000 };

/** A path that says where it leads, and that is not out of the folder. */
function isBelow(file: string): boolean {
  return (
    file !== "" && !path.posix.isAbsolute(file) && path.posix.normalize(file) === file && !/^\.\.(\/|$)/.test(file)
  );
}

/** The code of the file shares the pipe and may say anything: all of it is checked, the DAG by the rules of every DAG. */
const Answer = z.discriminatedUnion("ok", [
  z.strictObject({
    ok: z.literal(true),
    spec: DagSpec.optional(),
    files: z.record(z.string().refine(isBelow), z.string()),
    parsed: z
      .discriminatedUnion("ok", [
        z.strictObject({ ok: z.literal(true), spec: DagSpec }),
        z.strictObject({ ok: z.literal(false), problems: z.array(Problem) }),
      ])
      .optional(),
    types: z.array(Type).optional(),
  }),
  z.strictObject({ ok: z.literal(false), message: z.string(), problems: z.array(z.string()).optional() }),
]);

/** What the child that runs others' code has said, from the payload of its frame; or why that is no answer of ours. */
export function answerIn(payload: Buffer): Evaluated | { broken: string } {
  try {
    const answer = Answer.safeParse(parseCounted(payload, ANSWER_LIMITS));
    if (answer.success) return answer.data as Evaluated;
    const [issue] = answer.error.issues;
    return { broken: `its answer is none: ${issue?.path.join(".")}: ${issue?.message}` };
  } catch (error) {
    return { broken: messageOf(error) };
  }
}

/** What the child has said that runs no code but ours: it has checked what there is to check. */
export function checkedAnswer(payload: Buffer): Evaluated | { broken: string } {
  return JSON.parse(payload.toString()) as Evaluated | { broken: string };
}
