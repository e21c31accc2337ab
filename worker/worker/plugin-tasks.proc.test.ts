import { expect, test } from "vitest";
import { executorsWith } from "#lib/executors/registry.ts";
import { attemptTools } from "#lib/testing/attempts.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { testWorld } from "#lib/testing/executor-world.ts";

const database = testDatabase();
const attempts = attemptTools(database, ["docs/plugins/chat.ts"]);
const world = testWorld(database);

const states = async (): Promise<string[]> => {
  const { rows } = await database.pool.query<{ state: string }>(
    "select state from sluice.task_instance order by id desc limit 1",
  );
  return rows.map(({ state }) => state);
};

test("a worker that does not know a task's type ends the attempt, and the next may go to one that does", async () => {
  const { executors } = attempts.tools;
  attempts.tools.executors = executorsWith([]);
  const task = { chat: { webhook: `${world.url}/ok`, text: "hi" } };
  const ran = await attempts.run({ ...task, retries: { max: 1, delay: "1h" } });
  attempts.tools.executors = executors;
  expect(ran).toMatchObject({
    state: "failed",
    reason: "UNKNOWN_TYPE",
    error:
      'this worker does not know the type of task "chat", but only bash, python, fn, http, sql, docker, noop; SLUICE_PLUGINS names plugins',
  });
  expect(await states()).toEqual(["retrying"]);
  expect(world.requests).toEqual([]);
});

test("a plugin's config is checked again with the values of its expressions, and gets what its schema makes of it", async () => {
  const chat = (more: object): object => ({ chat: { webhook: `${world.url}/ok`, text: "hi", ...more } });
  const number = await attempts.run({ ...chat({ text: "${{ task.attempt }}" }) });
  expect(number.output).toMatchObject({
    channel: "#general",
    answer: expect.stringContaining(String.raw`\"text\":\"1\"`),
  });
  attempts.secrets.set("CHANNEL", "no-channel-at-all");
  const wrong = await attempts.run({
    ...chat({ channel: "${{ secrets.CHANNEL }}" }),
    retries: { max: 1, delay: "1h" },
  });
  expect(wrong).toMatchObject({ reason: "EXPRESSION", error: "config.channel: a channel is written like #ops" });
  expect(await states()).toEqual(["failed"]);
});

test("a config that its plugin does not take any more is told as that", async () => {
  // As if the DAG had been loaded with another version of the plugin.
  const known = attempts.plugins;
  attempts.plugins = known.map(({ config: _, ...facts }) => facts);
  const ran = await attempts.run({ chat: { webhook: `${world.url}/ok`, message: "hi" }, retries: { max: 1 } });
  attempts.plugins = known;
  expect(ran).toMatchObject({ reason: "CONFIG", error: expect.stringMatching(/^config.text: /) });
  expect(await states()).toEqual(["failed"]);
});
