import { afterAll, describe } from "vitest";
import { attemptTools, type WrittenTask } from "#lib/testing/attempts.ts";
import { startContainerEngine, type TestEngine } from "#lib/testing/container-engine.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { executorContract, type Scenes, stillThere } from "#lib/testing/executor-contract.ts";
import { testWorld } from "#lib/testing/executor-world.ts";

const started = await startContainerEngine();
afterAll(() => started.engine?.stop());

function scenesOn({ image, podman }: TestEngine): Scenes {
  const sh = (script: string): WrittenTask => ({ docker: { image, network: "none", command: ["sh", "-c", script] } });
  const env = { TOKEN: "${{ secrets.TOKEN }}" };
  return {
    succeeds: () => ({ task: sh(`echo '{"n": 1}' > "$SLUICE_OUTPUT"`), output: { n: 1 } }),
    fails: () => ({ task: sh("exit 3"), reason: "EXIT", error: /^the container ended with exit code 3$/ }),
    hangs: () => ({
      task: sh(`trap "" TERM; sleep 600 & echo begun; wait`),
      begun: ({ logged }) => logged(/begun\n/),
      left: () => stillThere([image], () => podman("ps", "--all", "--quiet") !== ""),
    }),
    shrugs: () => ({ task: sh(`trap "exit 0" TERM; echo 1 > "$SLUICE_OUTPUT"; sleep 600 & wait`) }),
    tooLarge: () => ({ task: sh(`head -c 2000000 /dev/zero > "$SLUICE_OUTPUT"`) }),
    tells: () => ({ task: { ...sh(`echo "$TOKEN"; echo "\\"$TOKEN\\"" > "$SLUICE_OUTPUT"`), env } }),
    tellsAsItFails: () => ({ task: { ...sh(`echo "$TOKEN" >&2; echo "$TOKEN" > "$SLUICE_OUTPUT"; exit 1`), env } }),
    logs: () => ({
      task: sh(`n=0; while [ $n -lt 300 ]; do echo "line $n"; n=$((n + 1)); done`),
      lines: Array.from({ length: 300 }, (_, n) => `line ${n}`),
    }),
    keyed: () => ({ task: sh(`echo "\\"$SLUICE_ATTEMPT_ID\\"" > "$SLUICE_OUTPUT"`), key: ({ output }) => output }),
    refused: [
      ["docker: { imge: x }", /^4: task "t": docker: unknown key "imge"; did you mean "image"\?/],
      ["docker: { image: x, pull: sometimes }", /^4: task "t": docker.pull/],
    ],
  };
}

describe.skipIf(started.whyNot !== undefined)(`containers (${started.whyNot ?? "with Podman"})`, () => {
  const database = testDatabase();
  const attempts = attemptTools(database, [], started.engine?.host);
  const world = testWorld(database);
  if (started.engine) executorContract("docker", attempts, world, scenesOn(started.engine));
});
