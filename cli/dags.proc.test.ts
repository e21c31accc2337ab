import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { parseDefinition } from "#lib/domain/definition/parse.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { plainEnv } from "#lib/env.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { PACKAGE_ROOT } from "#worker/standalone/paths.ts";

const SLUICE = path.join(PACKAGE_ROOT, "cli", "sluice.mjs");

let folder: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(path.join(os.tmpdir(), "sluice-cli-")));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Writes files below the working directory. */
async function files(texts: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(texts)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), text);
  }
}

type Ran = { code: number | null; out: string; err: string };

/** `sluice dags …` in the folder, which has no database. `onStart` gets the process, and its output as it grows. */
async function dags(
  args: readonly string[],
  onOutput?: (child: ChildProcess, out: string) => void,
  variables: Record<string, string> = {},
): Promise<Ran> {
  const child = spawn(process.execPath, [SLUICE, "dags", ...args], {
    cwd: folder,
    env: { ...plainEnv(), HOME: folder, TMPDIR: folder, ...variables },
  });
  const ran = { code: null as number | null, out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    ran.out += text;
    onOutput?.(child, ran.out);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (ran.err += text));
  ran.code = await new Promise((resolve) => child.on("close", resolve));
  return ran;
}

const GOOD = "id: good\ntasks:\n  - { id: a, bash: 'true' }\n  - { id: b, dependsOn: [a], bash: 'true' }\n";

describe("dags validate", () => {
  test("reads YAML, JSON and TypeScript of the DAGs folder", async () => {
    await files({
      "dags/good.yaml": GOOD,
      "dags/sub/data.json": '{"id": "data", "tasks": [{"id": "a", "noop": {}}]}',
      "dags/code.ts": `import { dag, fn } from "sluice"; export default dag("code").task("a", fn(() => 1));`,
      "dags/node_modules/x/x.yaml": "broken: [",
    });
    const { code, out, err } = await dags(["validate"]);
    expect({ code, out, err }).toEqual({ code: 0, out: "3 files, 3 DAGs: 0 problems, 0 warnings\n", err: "" });
  });

  test("tells each mistake with its place and ends with 1", async () => {
    await files({
      "dags/bad.yaml": "id: bad\ntasks:\n  - id: a\n    dependson: [b]\n    bash: 'true'\n",
      "dags/code.ts": `import { dag } from "sluice"; throw new Error("no such file");`,
    });
    const { code, out, err } = await dags(["validate"]);
    expect(code).toBe(1);
    expect(err).toContain("dags/bad.yaml:4:5: error: ");
    expect(err).toContain(`did you mean "dependsOn"?`);
    expect(err).toContain("4 |     dependson: [b]\n");
    expect(err).toMatch(/dags\/code\.ts:\d+:\d+: error: .*no such file/);
    expect(out).toContain("2 files, 0 DAGs: 2 problems");
  });

  test("refuses a DAG id that two files use, and warns about a task without connections", async () => {
    await files({ "a.yaml": GOOD, "b.yaml": `${GOOD}  - { id: alone, noop: }\n` });
    const { code, err } = await dags(["validate", "a.yaml", "b.yaml"]);
    expect(code).toBe(1);
    expect(err).toContain(`b.yaml:1:5: error: the DAG id "good" is already used by a.yaml`);
    expect(err).toContain(`b.yaml: warning: the task "alone" is connected to no other`);
  });

  test("with --json, says everything as data", async () => {
    await files({ "a.yaml": `${GOOD}  - { id: alone, noop: }\n`, "b.yaml": "id: b\n" });
    const { code, out } = await dags(["validate", "--json", "."]);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      files: ["a.yaml", "b.yaml"],
      dags: [{ id: "good", file: "a.yaml", tasks: 3 }],
      problems: [{ file: "b.yaml", line: 1 }],
      warnings: [{ file: "a.yaml" }],
    });
  });

  test("a file that hangs in its code does not hang the command's answer about others", async () => {
    await files({ "exits.ts": `import "sluice"; process.exit(3);`, "good.yaml": GOOD });
    const { code, err, out } = await dags(["validate", "exits.ts", "good.yaml"]);
    expect(code).toBe(1);
    expect(err).toContain("exit code 3");
    expect(out).toContain("1 DAG:");
  });

  test.for([
    [["validate", "missing"]],
    [["validate", "notes.txt"]],
    [["validate", "--bogus"]],
    [["nonsense"]],
  ] as const)("%s ends with 2", async ([args]) => {
    await files({ "notes.txt": "" });
    const { code, out, err } = await dags(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).not.toBe("");
  });
});

describe("dags convert", () => {
  const CODE = `import { bash, dag, fn } from "sluice";
    export default dag("code", { tags: ["x"] })
      .task("a", bash("echo 1"))
      .task("b", { dependsOn: ["a"] }, fn(() => 1));`;

  test("writes TypeScript as YAML that names the functions as seen from the output", async () => {
    await files({ "dags/sub/code.ts": CODE });
    const { code, out, err } = await dags(["convert", "dags/sub/code.ts", "--to", "yaml", "-o", "dags/code.yaml"]);
    expect({ code, out }).toEqual({ code: 0, out: "" });
    const yaml = await readFile(path.join(folder, "dags/code.yaml"), "utf8");
    expect(yaml).toContain("fn: ./sub/code.ts#default.b");
    expect(err).toContain("the functions of b stay in dags/sub/code.ts");
    expect(err).toContain("only one of the files can be loaded");
  });

  test("writes to stdout, there and back without a loss", async () => {
    await files({ "good.yaml": `# why\n${GOOD}` });
    const json = await dags(["convert", "good.yaml", "--to", "json"]);
    expect(json).toMatchObject({ code: 0, err: "sluice: comments are not carried over\n" });
    await files({ "good.json": json.out });
    const yaml = await dags(["convert", "good.json", "--to", "yaml"]);
    await files({ "again.yaml": yaml.out });
    expect(await dags(["convert", "again.yaml", "--to", "json"])).toMatchObject({ code: 0, out: json.out, err: "" });
  });

  test("replaces a file only with --force", async () => {
    await files({ "good.yaml": GOOD, "out.json": "mine" });
    const args = ["convert", "good.yaml", "--to", "json", "-o", "out.json"];
    expect(await dags(args)).toMatchObject({ code: 2, err: expect.stringContaining("--force") as string });
    expect(await readFile(path.join(folder, "out.json"), "utf8")).toBe("mine");
    expect(await dags([...args, "--force"])).toMatchObject({ code: 0 });
    expect(await readFile(path.join(folder, "out.json"), "utf8")).toContain(`"id": "good"`);
  });
});

describe("dags test", () => {
  const MIXED = {
    "mixed.yaml": `id: mixed
params: { city: { type: string, default: Oslo } }
tasks:
  - id: load
    bash: echo "from $(cat $SLUICE_PARAMS)"; echo '{"n":' $(cat $SLUICE_PARAMS | tr -dc a-z | wc -c)'}' > $SLUICE_OUTPUT
  - { id: mocked, bash: 'echo never; exit 9' }
  - { id: sum, dependsOn: [load, mocked], fn: './code.ts#sum' }
  - { id: nothing, dependsOn: [sum], bash: { command: exit 4, skipOn: [4] } }
  - { id: after, dependsOn: [nothing], noop: }
  - id: fails
    dependsOn: [sum]
    bash: echo trying >&2; exit 5
    retries: { max: 1, delay: 10s, jitter: false }
  - { id: never, dependsOn: [fails], noop: }
  - { id: rescue, dependsOn: [fails], triggerRule: one_failed, bash: 'echo rescued' }
`,
    "code.ts": `export const sum = ({ outputs }) => { console.log("summing"); return outputs.load.n + outputs.mocked; };`,
  };

  test("runs bash, functions, failures, skips and mocks by the rules of production", async () => {
    await files(MIXED);
    const { code, out, err } = await dags(["test", "mixed.yaml", "--mock", "mocked=30"]);
    expect({ code, err }).toEqual({ code: 1, err: "" });
    expect(out).toContain(`load    │ from {"city":"Oslo"}\n`);
    expect(out).toContain("sum     │ summing\n");
    expect(out).toContain("✓ mocked success (mocked): 30\n");
    expect(out).not.toContain("never;");
    expect(out).toContain("fails   │ trying\n");
    expect(out).toContain("attempt 1 failed: the command ended with exit code 5; trying again (would wait 10s)");
    expect(out).toMatch(/○ nothing +skipped +ran/);
    expect(out).toMatch(/○ after +skipped +by its trigger rule/);
    expect(out).toMatch(/✗ fails +failed +ran +2 /);
    expect(out).toMatch(/✗ never +upstream_failed/);
    expect(out).toMatch(/✓ rescue +success/);
    expect(out).toContain("✗ mixed: failed in ");
    expect((await readdir(folder)).toSorted()).toEqual(["code.ts", "mixed.yaml"]);
  });

  test("with --task and --json, runs only that one and answers with data", async () => {
    await files(MIXED);
    const args = ["test", "mixed.yaml", "--task", "sum", "--mock", 'load={"n":1}', "--mock", "mocked=2", "--json"];
    const { code, out, err } = await dags(args);
    expect(err).toContain("summing");
    expect({ code, run: JSON.parse(out) as unknown }).toMatchObject({
      code: 0,
      run: { dagId: "mixed", state: "success", params: { city: "Oslo" } },
    });
    const { tasks } = JSON.parse(out) as { tasks: { id: string }[] };
    expect(tasks.find((task) => task.id === "sum")).toMatchObject({ by: "run", output: 3, attempts: 1 });
    expect(tasks.find((task) => task.id === "fails")).toMatchObject({ by: "not selected", state: "success" });
  });

  test("is about what a run triggered by hand would be about", async () => {
    const task = `{ id: a, bash: 'echo "$SLUICE_LOGICAL_DATE to $SLUICE_INTERVAL_END"' }`;
    await files({ "nightly.yaml": `id: nightly\ntimezone: Europe/Berlin\nschedule: 30 2 * * *\ntasks: [${task}]\n` });
    const at = async (date: string): Promise<string> => (await dags(["test", "nightly.yaml", "--date", date])).out;
    // The next night has no 02:30.
    expect(await at("2026-03-28T02:30+01:00")).toContain("2026-03-28T01:30:00.000Z to 2026-03-29T01:00:00.000Z\n");
    expect(await at("2026-03-28T02:31+01:00")).toContain("2026-03-28T01:31:00.000Z to 2026-03-28T01:31:00.000Z\n");
  });

  test("ends an attempt at its timeout", async () => {
    await files({ "slow.yaml": "id: slow\ntasks:\n  - { id: a, bash: sleep 60, timeout: 100ms }\n" });
    const { code, out } = await dags(["test", "slow.yaml"]);
    expect(code).toBe(1);
    expect(out).toContain("TIMEOUT the attempt took longer than its timeout of 100ms");
  });

  test("Ctrl-C ends what runs and cancels the rest", async () => {
    await files({
      "long.yaml":
        "id: long\ntasks:\n  - { id: a, bash: 'echo $$ >pid; echo up; sleep 60' }\n  - { id: b, dependsOn: [a], noop: }\n",
    });
    let isStopped = false;
    const { code, out } = await dags(["test", "long.yaml"], (child, text) => {
      if (isStopped || !text.includes("│ up")) return;
      isStopped = child.kill("SIGINT");
    });
    expect(code).toBe(130);
    expect(out).toMatch(/■ a +cancelled/);
    expect(out).toMatch(/■ b +cancelled +stopped/);
    expect(await readdir(folder)).toEqual(["long.yaml"]);
  });

  test.for([
    [["--mock", "nope=1"], `"nope" is not a task`],
    [["--mock", "load={"], "not JSON"],
    [["--params", '{"city": 5}'], `param "city"`],
    [["--params", "[]"], "Give an object"],
  ] as const)("%s ends with 2 and runs nothing", async ([args, text]) => {
    await files(MIXED);
    const { code, out, err } = await dags(["test", "mixed.yaml", ...args]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(text);
  });
});

describe("on a database", () => {
  const database = testDatabase();

  /** Makes a version of the DAG `etl` as the loader would. */
  const publish = (description: string): Promise<unknown> => {
    const config = { module: "lib/code.ts", export: "load" };
    const spec = DagSpec.parse({ id: "etl", description, tags: ["x"], tasks: [{ id: "load", type: "fn", config }] });
    return inTx(database.pool, (tx) => publishVersion(tx, spec, { file: "etl.yaml", source: "", author: "loader" }));
  };
  beforeAll(async () => {
    await publish("first");
    await publish("second");
  });
  const withUrl = (...args: string[]): Promise<Ran> => dags(args, undefined, { DATABASE_URL: database.url });

  test("lists DAGs", async () => {
    const { code, out, err } = await withUrl("list");
    expect({ code, out, err }).toEqual({
      code: 0,
      out: "ID   VERSION  STATE  TAGS  FILE\netl  2        ok     x     etl.yaml\n",
      err: "",
    });
    const { out: json } = await withUrl("list", "--json", "--tag", "y");
    expect(JSON.parse(json)).toEqual({ dags: [], problems: [] });
  });

  test("shows a DAG as a definition that can be read again", async () => {
    const { code, out } = await withUrl("show", "etl");
    expect(code).toBe(0);
    expect(out).toMatch(/^# etl, version 2 \(the current one\)\n# made 2\S+Z by loader\n# file: etl.yaml\nid: etl\n/);
    expect(parseDefinition(out, "x")).toMatchObject({ ok: true, spec: { description: "second" } });
    const { out: json } = await withUrl("show", "etl", "--version", "1", "--json");
    expect(JSON.parse(json)).toMatchObject({ number: 1, current: 2, spec: { description: "first" } });
  });

  test("lists versions", async () => {
    const { code, out } = await withUrl("versions", "etl");
    expect(code).toBe(0);
    expect(out).toMatch(/^VERSION +MADE +BY +NOTE\n2 \* +2\S+Z +loader\n1 +2\S+Z +loader\n$/);
  });

  test.for([
    [["show", "nope"], `there is no DAG "nope"`],
    [["show", "etl", "--version", "9"], `"etl" has no version 9; the current one is 2`],
    [["show", "etl", "--version", "x"], "Give a version's number"],
  ] as const)("%s ends with 2", async ([args, text]) => {
    const { code, out, err } = await withUrl(...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(text);
  });

  test.each([
    ["one that reads", ["list"]],
    ["one that changes something", ["pause", "etl"]],
  ])("a database that cannot be reached is named without its password: %s", async (_, args) => {
    const { code, err } = await dags(args, undefined, { DATABASE_URL: "postgres://me:secret@127.0.0.1:1/x" });
    expect(code).toBe(2);
    expect(err).toMatch(/^sluice: The database 127\.0\.0\.1:1\/x cannot be used: .*ECONNREFUSED/);
    expect(err).not.toContain("secret");
  });
});

test("a command that needs a database says what to do without one", async () => {
  const { code, err } = await dags(["list"]);
  expect(code).toBe(2);
  expect(err).toContain("DATABASE_URL is not set and no Sluice is running on");
  expect(err).toContain("sluice start");
});
