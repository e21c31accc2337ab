import { expect, test } from "vitest";
import type { Exit, SpawnRequest } from "#lib/executors/executor.ts";
import { tryStart } from "./trouble.ts";

test("a start that fails says why", async () => {
  const started: SpawnRequest[] = [];
  const spawner = (exit: Exit) => ({ run: async (request: SpawnRequest) => (started.push(request), exit) });
  await tryStart(spawner({ code: 0, signal: null }), "/work");
  expect(started[0]!.folder).toBe("/work/try-start");
  const tried = (exit: Exit): Promise<void> => tryStart(spawner(exit), "/work");
  await expect(tried({ code: null, signal: null, error: "the spawner was lost" })).rejects.toThrow(
    "the spawner was lost",
  );
  await expect(tried({ code: 1, signal: null })).rejects.toThrow("/bin/sh ended with exit code 1");
  await expect(tried({ code: null, signal: "SIGKILL" })).rejects.toThrow("/bin/sh ended with SIGKILL");
});
