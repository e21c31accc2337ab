/** A worker with one process, for tests that kill it: `killed-worker.ts FOLDER COMMAND`. Tells its spawner's output. */
import path from "node:path";
import { plainEnv } from "#lib/env.ts";
import { createSpawner } from "../client.ts";

const [folder, command] = process.argv.slice(2) as [string, string];
const ignore = (): void => undefined;
const own = path.join(folder, "attempt");
const env = { PATH: "/usr/bin:/bin" };
const request = { file: "bash", args: ["-c", command], env, folder: own, files: {} };
const spawner = createSpawner({ env: plainEnv(), log: { info: ignore, warn: ignore } });
await spawner.run(request, new AbortController().signal, async (_, bytes) => void process.stdout.write(bytes));
