import { describe, expect, test } from "vitest";
import { TaskSpec } from "#lib/domain/model/task.ts";
import { executorsWith } from "#lib/executors/registry.ts";
import { needsResolving, type Resolved, resolveTask } from "./resolve-task.ts";
import { NO_SECRETS, type SecretProvider } from "./secrets/provider.ts";

const VALUES = {
  params: { n: 3, host: "example.org" },
  xcoms: { extract: { file: "a.csv" } },
  outputs: { extract: { rows: [1, 2] } },
  run: {
    id: "7",
    dagId: "d",
    logicalDate: "2026-01-01T00:00:00.000Z",
    intervalStart: "2026-01-01T00:00:00.000Z",
    intervalEnd: "2026-03-29T22:00:00.000Z",
    triggerKind: "manual",
  },
  task: { id: "t", attempt: 1, attemptId: "a-1" },
};
const task = (given: object): TaskSpec => TaskSpec.parse({ id: "t", dependsOn: ["extract"], ...given });
const resolve = (given: TaskSpec, secrets = NO_SECRETS): Promise<Resolved> =>
  resolveTask(given, executorsWith([]).get(given.type)!, async () => VALUES, secrets);

describe("a task's expressions", () => {
  test("are replaced in config and env; env becomes text, config keeps its types", async () => {
    const http = task({
      type: "http",
      config: { url: "https://${{ params.host }}/x", method: "POST", json: { rows: "${{ outputs.extract.rows }}" } },
      env: { N: "${{ params.n }}", ROWS: "${{ outputs.extract.rows }}", PLAIN: "a" },
    });
    expect(await resolve(http)).toMatchObject({
      kind: "run",
      task: {
        config: { url: "https://example.org/x", json: { rows: [1, 2] } },
        env: { N: "3", ROWS: "[1,2]", PLAIN: "a" },
      },
    });
  });

  test("decide whether it runs at all", async () => {
    const bash = (condition: string): TaskSpec => task({ type: "bash", config: { command: "true" }, condition });
    expect((await resolve(bash("${{ params.n > 2 }}"))).kind).toBe("run");
    expect((await resolve(bash("${{ params.n > 3 }}"))).kind).toBe("skip");
    expect(await resolve(bash("${{ params.n }}"))).toMatchObject({ kind: "failed" });
    expect(await resolve(bash("${{ outputs.extract.nope }}"))).toMatchObject({
      kind: "failed",
      error: expect.stringContaining("No such key: nope"),
    });
  });

  test("cannot make a config that the model refuses", async () => {
    const http = task({ type: "http", config: { url: "${{ outputs.extract }}" } });
    expect(await resolve(http)).toMatchObject({ kind: "failed", error: expect.stringContaining("config.url") });
    const python = task({ type: "python", config: { code: "pass", args: ["${{ params.n }}", "${{ params.n > 1 }}"] } });
    expect(await resolve(python)).toMatchObject({ kind: "run", task: { config: { args: ["3", "true"] } } });
    expect(() => task({ type: "bash", config: { command: "echo ${{ params.n }}" } })).toThrow(/put it into env/);
  });

  test("are looked for before the parents' outputs are read", () => {
    expect(needsResolving(task({ type: "bash", config: { command: "echo $X" }, env: { X: "1" } }))).toBe(false);
    expect(needsResolving(task({ type: "bash", config: { command: "echo $X" }, env: { X: "${{ params.n }}" } }))).toBe(
      true,
    );
  });
});

/** A store that tells which names it was asked for. */
function storeOf(values: Record<string, string>): SecretProvider & { asked: string[] } {
  const asked: string[] = [];
  return {
    place: "the store",
    asked,
    get(names) {
      asked.push(...names);
      const found = names.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]] as const]));
      return Promise.resolve({ ok: true, values: new Map(found) });
    },
  };
}

describe("a task's secrets", () => {
  const login = (more: object = {}): TaskSpec =>
    task({ type: "bash", config: { command: "login" }, env: { AUTH: "Bearer ${{ secrets.TOKEN }}" }, ...more });

  test("are fetched when it runs, only those it names, and hidden by its mask", async () => {
    const store = storeOf({ TOKEN: "hunter2-hunter2", OTHER: "other-secret" });
    const resolved = await resolve(login(), store);
    expect(resolved).toMatchObject({ kind: "run", task: { env: { AUTH: "Bearer hunter2-hunter2" } } });
    expect(store.asked).toEqual(["TOKEN"]);
    expect(resolved.kind === "run" && resolved.mask.text("hunter2-hunter2 other-secret")).toBe("*** other-secret");
    await resolve(login({ condition: "${{ params.n > 3 }}" }), store);
    expect(store.asked).toEqual(["TOKEN"]);
  });

  test("that are not there end it, by name and place", async () => {
    expect(await resolve(login(), storeOf({}))).toEqual({
      kind: "failed",
      reason: "SECRET_MISSING",
      error: 'the secret "TOKEN" is not in the store',
    });
    expect(await resolve(login())).toMatchObject({
      reason: "SECRET_MISSING",
      error: expect.stringMatching(/"TOKEN" is not in this worker's secrets: .*SLUICE_SECRETS_FILE names no file/),
    });
    const broken: SecretProvider = { ...storeOf({}), get: async () => ({ ok: false, error: "the store is away" }) };
    expect(await resolve(login(), broken)).toEqual({
      kind: "failed",
      reason: "SECRETS_UNREADABLE",
      error: "the store is away",
    });
  });

  test("are in no error of what their values make", async () => {
    const wrong = task({ type: "http", config: { url: "https://x", headers: { a: "${{ {secrets.TOKEN: 1} }}" } } });
    const resolved = await resolve(wrong, storeOf({ TOKEN: "hunter2-hunter2" }));
    expect(resolved).toMatchObject({ kind: "failed", reason: "EXPRESSION" });
    expect(JSON.stringify(resolved)).not.toContain("hunter2");
  });
});
