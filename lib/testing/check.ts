/** `npm run check`: everything that needs neither a database nor a browser. `--fast` leaves out what takes longest. */
import { existsSync } from "node:fs";
import path from "node:path";
import { type Command, ROOT, resultOf, run, secondsText, type StepResult } from "./steps.ts";

const FAST: readonly Command[] = [
  { name: "lint", command: "oxlint", args: ["--type-aware"] },
  { name: "types", command: "tsc", args: ["--noEmit"] },
  { name: "format", command: "oxfmt", args: ["--check"] },
  { name: "rooms", command: process.execPath, args: ["lib/testing/rooms.ts"] },
];

const SLOW: readonly Command[] = [
  { name: "dead code", command: "knip", args: ["--no-progress"] },
  {
    name: "prisma schema",
    command: "prisma",
    args: ["validate"],
    // Prisma wants a schema engine at hand and would download one; `validate` never runs it.
    env: {
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
      PRISMA_HIDE_UPDATE_MESSAGE: "1",
      CHECKPOINT_DISABLE: "1",
    },
  },
];

/** Each lane runs its commands one after the other; two lanes fill two cores. */
const LANES = 2;

export async function check(fast = false): Promise<StepResult[]> {
  if (!existsSync(path.join(ROOT, "lib/db/generated/client.ts"))) {
    throw new Error("The Prisma client is not generated: run `node prisma/generate.mjs`");
  }
  const waiting = fast ? [...FAST] : [...FAST, ...SLOW];
  const results: StepResult[] = [];
  const lane = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      const ran = await run(step, false);
      const { ok, output, seconds } = ran;
      console.log(`${ok ? "✓" : "✗"} ${step.name.padEnd(14)} ${secondsText(seconds)}`);
      if (!ok) console.log(output.trimEnd());
      results.push(resultOf(step.name, ran));
    }
  };
  // The generated client must be the schema's before anything reads it.
  const client = await run({ name: "client", command: process.execPath, args: ["prisma/generate.mjs"] }, false);
  if (!client.ok) console.log(client.output);
  await Promise.all(Array.from({ length: LANES }, lane));
  return [...results, resultOf("prisma client", client)];
}

if (import.meta.main) {
  const results = await check(process.argv.includes("--fast"));
  process.exitCode = results.some((result) => result.failed > 0) ? 1 : 0;
}
