import { mkdtemp, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { createFunctionPool, type FunctionPool } from "#worker/functions/pool.ts";
import { createBundleStore } from "#worker/functions/bundle-store.ts";
import { END, STDERR, STDOUT } from "#worker/functions/protocol.ts";
import { ownPlace } from "#worker/guests/place.ts";
import type { Json } from "../../domain/canonical.ts";
import type { CallResult } from "../../executors/executor.ts";
import { plainEnv } from "../../env.ts";
import { frameLike, mutated, mutatedJson } from "./mutate.ts";
import type { Random } from "./random.ts";
import type { Target } from "./target.ts";

/**
 * A function that writes what it likes into the pipe to its worker, where the id 0 stands for its own call, and one of another
 * version beside it.
 */
const FILES = {
  hostile: {
    "code.ts": `
      import { writeSync } from "node:fs";
      let calls = 0;
      export const run = async ({ conf }: { conf: { pieces: string[]; next: string } }) => {
        const mine = ++calls;
        // Its end may be taken for the rest of what it wrote.
        setTimeout(() => calls === mine && process.exit(0), 400);
        for (const piece of conf.pieces) {
          const bytes = Buffer.from(piece, "base64");
          if (bytes.length >= 9) bytes.writeUInt32BE((bytes.readUInt32BE(5) + calls) >>> 0, 5);
          writeSync(4, bytes);
        }
        if (conf.next === "exit") process.exit(0);
        if (conf.next === "wait") await new Promise((done) => setTimeout(done, 300));
        return "hostile";
      };
    `,
  },
  good: { "code.ts": "let calls = 0; export const run = () => [process.pid, ++calls];" },
};

const ENDS = [
  { kind: "returned", output: { a: [1, "b", null] }, pushed: { key: { b: 2 } } },
  { kind: "returned", pushed: {} },
  { kind: "deferred", afterMs: 1_000, reason: "no file yet" },
  { kind: "unstorable", reason: "RESULT_TOO_LARGE", error: "too large" },
  { kind: "threw", error: "Error: no\n    at code.ts:1" },
];

/** What a function might write into its pipe. */
export function functionPiece(random: Random): Buffer {
  if (random.chance(0.1)) return random.bytes(1 + random.upTo(200));
  const letter = random.pick([STDOUT, STDERR, END, END]);
  const text = Buffer.from(random.pick(["", "a line\n", "\0\u001b[2J", "x".repeat(70_000)]));
  const payload = letter === END ? mutatedJson(random.pick(ENDS), random) : mutated(text, random);
  return frameLike(letter, 0, payload, random);
}

const openFiles = async (): Promise<number> => (await readdir("/proc/self/fd").catch(() => [])).length;

/** Functions of DAG files, against the pool of a worker: `worker/functions`. */
export const functions: Target = {
  name: "functions",
  async start() {
    const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-fuzz-functions-"));
    const store = createBundleStore(path.join(folder, "bundles"), async (hash) => FILES[hash as keyof typeof FILES]);
    const place = ownPlace(folder);
    const pool = createFunctionPool({ dagsDir: folder, env: plainEnv(), folderOf: store.folderOf, place });
    const [pid, first] = (await valueOf(pool, "good")) as [number, number];
    let calls = first;
    const files = await openFiles();
    return {
      async one(random) {
        const pieces = Array.from({ length: 1 + random.upTo(4) }, () => functionPiece(random).toString("base64"));
        await call(pool, "hostile", { pieces, next: random.pick(["return", "return", "exit", "wait"]) });
        const said = await valueOf(pool, "good");
        const expected = [pid, ++calls];
        return JSON.stringify(said) === JSON.stringify(expected)
          ? []
          : [`the function beside it returned ${JSON.stringify(said)}, not ${JSON.stringify(expected)}`];
      },
      async stop() {
        await pool.stop();
        const more = (await openFiles()) - files;
        await rm(folder, { recursive: true });
        return more > 0 ? [`${more} more descriptors are open than before`] : [];
      },
    };
  },
};

function call(pool: FunctionPool, bundle: string, conf: Record<string, Json>): Promise<CallResult> {
  const { signal } = new AbortController();
  const argument = { conf, run: { id: "1" } };
  return pool.call({ bundle, module: "code.ts", export: "run", argument }, signal, () => undefined);
}

async function valueOf(pool: FunctionPool, bundle: string): Promise<unknown> {
  const result = await call(pool, bundle, {});
  return "value" in result ? result.value : result;
}
