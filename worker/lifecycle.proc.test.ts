import { fork } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";

async function start() {
  const child = fork(path.join(import.meta.dirname, "standalone/testing/fake-process.ts"), {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  if (child.stderr === null || child.stdout === null) throw new Error("no output");
  const errors = text(child.stderr);
  child.stdout.resume();
  const [message] = (await once(child, "message")) as [unknown];
  expect(message).toEqual({ type: "ready" });
  return { child, errors, exit: once(child, "exit"), output: child.stdout };
}

test("stops its services in reverse at the first signal; a second one changes nothing", async () => {
  const { child, errors, exit } = await start();
  child.kill("SIGTERM");
  child.kill("SIGINT");
  expect(await exit).toEqual([0, null]);
  expect(await errors).toBe("second stopped: signal\nfirst stopped: signal\n");
});

test("stops in order when the supervisor is gone and nobody reads its output", async () => {
  const { child, errors, exit, output } = await start();
  output.destroy();
  child.disconnect();
  expect(await exit).toEqual([0, null]);
  expect(await errors).toBe("second stopped: disconnect\nfirst stopped: disconnect\n");
});
