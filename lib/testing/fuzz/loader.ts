import { globSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { ownPlace } from "#worker/guests/place.ts";
import { createEvaluator, createReader } from "#worker/loader/evaluator.ts";
import { ANSWER, type Evaluated } from "#worker/loader/protocol.ts";
import { parseDefinition } from "../../domain/definition/parse.ts";
import { DagSpec } from "../../domain/model/dag.ts";
import { plainEnv } from "../../env.ts";
import { DAG_FILE_SHAPES } from "../dag-file-shapes.ts";
import { frameLike, mutated, mutatedJson } from "./mutate.ts";
import type { Random } from "./random.ts";
import type { Started, Target } from "./target.ts";

const ROOT = path.resolve(import.meta.dirname, "../../..");
const GOOD = 'import { bash, dag } from "sluice";\nexport default dag("good").task("only", bash("true"));\n';
const SPEC = parseDefinition("id: a\ntasks:\n  - id: only\n    bash: 'true'\n", "a.yaml");
const ANSWERS = [
  { ok: true, files: { "a.ts": "export {};" }, spec: SPEC.ok ? SPEC.spec : undefined },
  { ok: true, files: {}, parsed: SPEC },
  { ok: true, files: {}, types: [] },
  { ok: false, message: "no such file", problems: ["one"] },
  { ok: true, files: {}, parsed: { ok: false, problems: [{ file: "a", line: 1, column: 1, message: "no" }] } },
];

/** A folder of DAGs with what evaluates its files, as a scheduler has it: one reader, and an evaluator for each pass. */
async function openLoader(): Promise<{
  folder: string;
  evaluate: (request: Parameters<ReturnType<typeof createEvaluator>["evaluate"]>[0]) => Promise<Evaluated>;
  /** Whether another pass takes a good file. */
  isWell: () => Promise<string[]>;
  stop: Started["stop"];
}> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-fuzz-loader-"));
  await writeFile(path.join(folder, "good.ts"), GOOD);
  const options = { dagsDir: folder, env: plainEnv(), place: ownPlace(folder) };
  const reader = createReader(options);
  const evaluate = async (request: Parameters<ReturnType<typeof createEvaluator>["evaluate"]>[0]) => {
    const evaluator = createEvaluator(options, reader);
    try {
      return await evaluator.evaluate(request);
    } finally {
      evaluator.stop();
    }
  };
  return {
    folder,
    evaluate,
    async isWell() {
      const good = await evaluate({ kind: "typescript", file: "good.ts" });
      return good.ok && good.spec?.id === "good"
        ? []
        : [`a good file beside it: ${JSON.stringify(good).slice(0, 400)}`];
    },
    async stop() {
      reader.stop();
      await rm(folder, { recursive: true, force: true });
      return [];
    },
  };
}

/** What a scheduler publishes is a DAG by the rules of every DAG. */
function wrongIn(evaluated: Evaluated): string[] {
  if (!evaluated.ok) return [];
  const specs = [evaluated.spec, evaluated.parsed?.ok === true ? evaluated.parsed.spec : undefined];
  return specs
    .filter((spec) => spec !== undefined)
    .flatMap((spec) =>
      DagSpec.safeParse(spec).success ? [] : [`it takes what is no DAG: ${JSON.stringify(spec).slice(0, 400)}`],
    );
}

/** A TypeScript file whose code writes into the pipe to the loader: `worker/loader` and `worker/guests`. */
export const loader: Target = {
  name: "loader",
  async start() {
    const { folder, evaluate, isWell, stop } = await openLoader();
    return {
      async one(random) {
        const pieces = Array.from({ length: 1 + random.upTo(3) }, () => answerLike(random).toString("base64"));
        const then = random.pick([
          "",
          "process.exit(0);",
          "await new Promise((done) => setTimeout(done, 300));",
          "throw 1;",
        ]);
        await writeFile(
          path.join(folder, "hostile.ts"),
          `import "sluice"; import { writeSync } from "node:fs";
           // Its answer may be taken for the rest of what it wrote.
           setTimeout(() => process.exit(0), 400);
           for (const piece of ${JSON.stringify(pieces)}) writeSync(4, Buffer.from(piece, "base64"));\n${then}\n`,
        );
        const evaluated = await evaluate({ kind: "typescript", file: "hostile.ts" });
        return [...wrongIn(evaluated), ...(await isWell())];
      },
      stop,
    };
  },
};

/** What the code of a file might write into its pipe. */
export function answerLike(random: Random): Buffer {
  if (random.chance(0.1)) return random.bytes(1 + random.upTo(100));
  return frameLike(ANSWER, 1, mutatedJson(random.pick(ANSWERS), random), random);
}

const GLOB = ["dags/*.yaml", "e2e/dags/*.yaml", "docs/*.md"];

/** Definitions that are good, and such as are hard to read. */
function definitions(): { file: string; text: string }[] {
  const shown = globSync(GLOB, { cwd: ROOT }).flatMap((name) => {
    const text = readFileSync(path.join(ROOT, name), "utf8");
    if (!name.endsWith(".md")) return [{ file: "a.yaml", text }];
    return [...text.matchAll(/```(yaml|json)\n([\s\S]*?)```/g)].map(([, type, inside]) => ({
      file: `a.${type!}`,
      text: inside!,
    }));
  });
  const asJson = shown.flatMap(({ text }) => {
    const parsed = parseDefinition(text, "a.yaml");
    return parsed.ok ? [{ file: "a.json", text: JSON.stringify(parsed.spec, null, 2) }] : [];
  });
  const hard = Object.values(DAG_FILE_SHAPES).map((shape) => ({ file: "a.yaml", text: shape(2_000) }));
  return [...shown, ...asJson, ...hard];
}

/** What the reader, which runs no code but ours, says of itself when a text ends it or holds it up. */
const UNREAD = /was not evaluated within|ended the process|wrote into the pipe|could not be evaluated/;

/** YAML and JSON files with mistakes, read as a scheduler reads them. */
export const definitionFiles: Target = {
  name: "definitions",
  async start() {
    const { evaluate, stop } = await openLoader();
    const known = definitions();
    return {
      async one(random) {
        const { file, text } = random.pick(known);
        const wrong = mutated(Buffer.from(text), random).toString();
        const evaluated = await evaluate({ kind: "data", file, text: wrong, types: [] });
        const problems = evaluated.ok && evaluated.parsed?.ok === false ? evaluated.parsed.problems : [];
        const lines = wrong.split(/\r\n|\r|\n/).length;
        const misplaced = problems.filter(({ line }) => line > lines);
        return [
          ...wrongIn(evaluated),
          ...(!evaluated.ok && UNREAD.test(evaluated.message) ? [evaluated.message] : []),
          ...(evaluated.ok && evaluated.parsed?.ok === false && problems.length === 0
            ? ["it is refused and not told why"]
            : []),
          ...misplaced.map(({ line, message }) => `"${message}" is told of line ${line}, of ${lines}`),
        ].map((fault) => `${fault}\n  in ${JSON.stringify(wrong.slice(0, 2_000))}`);
      },
      stop,
    };
  },
};

/** TypeScript files with mistakes. */
export const programs: Target = {
  name: "programs",
  async start() {
    const { folder, evaluate, isWell, stop } = await openLoader();
    const known = [
      GOOD,
      ...globSync("dags/*.ts", { cwd: ROOT }).map((name) => readFileSync(path.join(ROOT, name), "utf8")),
    ];
    return {
      async one(random) {
        await writeFile(path.join(folder, "hostile.ts"), mutated(Buffer.from(random.pick(known)), random));
        return [...wrongIn(await evaluate({ kind: "typescript", file: "hostile.ts" })), ...(await isWell())];
      },
      stop,
    };
  },
};
