import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, runState, start } from "#lib/testing/engine.ts";
import { describePlugins } from "../plugins/describe.ts";
import { ownPlace } from "#worker/guests/place.ts";
import { createLoader, type Loader } from "./loader.ts";

const database = testDatabase();
let dagsDir: string;
let loader: Loader;

beforeEach(async () => {
  dagsDir = await mkdtemp(path.join(os.tmpdir(), "sluice-dags-"));
  loader = createLoader({ deps: database.deps, dagsDir, env: plainEnv(), place: ownPlace() });
  await forgetRuns(database.deps);
  await database.pool.query(
    "truncate sluice.schedule, sluice.dropped_runs, sluice.backfill, sluice.backfill_event, sluice.dag, sluice.dag_version, sluice.dag_task, sluice.bundle, sluice.import_error",
  );
});
afterEach(async () => {
  loader.stop();
  await rm(dagsDir, { recursive: true, force: true });
});

async function write(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(path.join(dagsDir, file)), { recursive: true });
  await writeFile(path.join(dagsDir, file), text);
}

async function versions(): Promise<
  { id: string; number: number; missing: boolean; files: Record<string, string> | null }[]
> {
  const { rows } = await database.pool.query<{
    id: string;
    number: number;
    missing: boolean;
    files: Record<string, string> | null;
  }>(
    `select d.id, v.number, d.missing, b.files from sluice.dag d join sluice.dag_version v on v.id = d.current_version_id
       left join sluice.bundle b on b.hash = v.bundle order by 1`,
  );
  return rows;
}

async function importErrors(): Promise<Record<string, string>> {
  const { rows } = await database.pool.query<{ file: string; problems: { message: string; line: number }[] }>(
    "select file, problems from sluice.import_error order by 1",
  );
  return Object.fromEntries(
    rows.map((row) => [row.file, `${row.problems[0]!.line}: ${row.problems[0]!.message.split("\n")[0]}`]),
  );
}

const yaml = (id: string, command = "true"): string => `id: ${id}\ntasks:\n  - id: only\n    bash: "${command}"\n`;

describe("the loader", () => {
  test("makes a version only of what changed", async () => {
    await write("a.yaml", yaml("a"));
    await write("team/b.json", JSON.stringify({ id: "b", tasks: [{ id: "only", bash: "true" }] }));
    await loader.pass();
    await write("a.yaml", `# a comment changes no behaviour\n${yaml("a")}`);
    await write("team/b.json", JSON.stringify({ id: "b", tasks: [{ id: "only", bash: "echo new" }] }));
    await loader.pass();
    expect((await versions()).map(({ id, number }) => [id, number])).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
  });

  test("starts the runs that a higher limit has room for", async () => {
    const limited = (most: number): string => `limits: { maxActiveRuns: ${most} }\n${yaml("grown")}`;
    await write("grown.yaml", limited(1));
    await loader.pass();
    const runs = [await start(database.deps, "grown"), await start(database.deps, "grown")];
    const running = async (): Promise<string[]> => Promise.all(runs.map((runId) => runState(database.deps, runId)));
    expect(await running()).toEqual(["running", "queued"]);
    await write("grown.yaml", limited(2));
    await loader.pass();
    expect(await running()).toEqual(["running", "running"]);
  });

  test("keeps the last good version of a broken file and tells where it is broken", async () => {
    await write("a.yaml", yaml("a"));
    await loader.pass();
    await write("a.yaml", "id: a\ntasks:\n  - id: only\n    bsh: oops\n");
    await write("c.ts", 'import { dag } from "sluice";\nexport default dag("c");\n');
    await write("d.ts", 'import { dag } from "sluice";\nthrow new Error("at import");\n');
    await write(
      "b-late.ts",
      'import "sluice";\nprocess.send?.("noise");\nsetTimeout(() => Promise.reject(new Error("late")), 1);\n',
    );
    await write("e.ts", 'import "sluice";\nprocess.exit(7);\n');
    await loader.pass();
    expect(await versions()).toMatchObject([{ id: "a", number: 1, missing: false }]);
    expect(await importErrors()).toEqual({
      "a.yaml": expect.stringMatching(/^4: task "only": unknown key "bsh"/),
      "c.ts": expect.stringContaining("1:"),
      "d.ts": "2: Error: at import",
      "e.ts": "1: the file ended the process that evaluates it (exit code 7)",
    });
    await write("a.yaml", yaml("a"));
    for (const file of ["b-late.ts", "c.ts", "d.ts", "e.ts"]) await rm(path.join(dagsDir, file));
    await loader.pass();
    expect(await importErrors()).toEqual({});
  });

  test("takes the code of functions into the version, with everything it imports", async () => {
    await write("lib/helper.ts", "export const one = 1;\n");
    await write(
      "functions.ts",
      'import { one } from "./lib/helper.ts";\nimport type { FnContext } from "sluice";\nexport function go(_: FnContext<{}>): number { return one; }\n',
    );
    await write("f.yaml", "id: f\ntasks:\n  - id: only\n    fn: ./functions.ts#go\n");
    await write(
      "g.ts",
      'import { dag, fn } from "sluice";\nimport { one } from "./lib/helper.ts";\nexport default dag("g").task("only", fn(() => one));\n',
    );
    await loader.pass();
    expect(await importErrors()).toEqual({});
    expect((await versions()).map(({ id, files }) => [id, Object.keys(files!)])).toEqual([
      ["f", ["functions.ts", "lib/helper.ts"]],
      ["g", ["g.ts", "lib/helper.ts"]],
    ]);
    await write("lib/helper.ts", "export const one = 2;\n");
    await loader.pass();
    expect((await versions()).map(({ id, number }) => [id, number])).toEqual([
      ["f", 2],
      ["g", 2],
    ]);
  });

  test("takes the programs of tasks into the version, and sees when they change", async () => {
    await write("jobs/load.sh", "echo 1\n");
    await write("jobs/load", "print(1)\n");
    await write(
      "jobs/s.yaml",
      "id: s\ntasks:\n  - id: a\n    bash: { script: ./load.sh }\n  - id: b\n    python: { file: load }\n",
    );
    await write(
      "t.ts",
      'import { bash, dag } from "sluice";\nexport default dag("t").task("a", bash({ script: "jobs/load.sh" }));\n',
    );
    await loader.pass();
    expect(await importErrors()).toEqual({});
    const texts = { "jobs/load.sh": "echo 1\n", "jobs/load": "print(1)\n" };
    expect(await versions()).toMatchObject([
      { id: "s", number: 1, files: texts },
      { id: "t", number: 1, files: { "jobs/load.sh": "echo 1\n" } },
    ]);
    const { rows } = await database.pool.query("select spec from sluice.dag_task order by 1");
    expect(JSON.stringify(rows)).toContain('{"script":"jobs/load.sh"}');
    await write("jobs/load", "print(22)\n");
    await loader.pass();
    expect((await versions()).map(({ id, number }) => [id, number])).toEqual([
      ["s", 2],
      ["t", 1],
    ]);
    await rm(path.join(dagsDir, "jobs/load.sh"));
    await loader.pass();
    expect(await importErrors()).toEqual({
      "jobs/s.yaml": '4: task "a": bash.script: there is no file jobs/load.sh in the DAGs folder; did you mean "load"?',
      "t.ts": '2: task "a": bash.script: there is no file jobs/load.sh in the DAGs folder; did you mean "load"?',
    });
    await write("jobs/load.sh", "echo 3\n");
    await loader.pass();
    expect(await importErrors()).toEqual({});
    expect((await versions()).map(({ id, number }) => [id, number])).toEqual([
      ["s", 3],
      ["t", 2],
    ]);
  });

  test("refuses programs outside the folder, and what is no text or too much of it", async () => {
    const script = (file: string): string =>
      `id: ${path.basename(file, ".sh")}\ntasks:\n  - id: a\n    bash: { script: ${file} }\n`;
    await write("latin.sh", "");
    await writeFile(path.join(dagsDir, "latin.sh"), Buffer.from([0x23, 0xe4, 0x0a]));
    await write("nul.sh", "a\0b");
    await write("large.sh", `#${"x".repeat(1024 * 1024)}`);
    await mkdir(path.join(dagsDir, "folder.sh"));
    await symlink("/etc/passwd", path.join(dagsDir, "link.sh"));
    const files = ["../outside.sh", "latin.sh", "nul.sh", "large.sh", "folder.sh", "link.sh"];
    for (const file of files) await write(`${path.basename(file, ".sh")}.yaml`, script(file));
    await loader.pass();
    const at = '4: task "a": bash.script:';
    expect(await importErrors()).toEqual({
      "outside.yaml": `${at} the file ../outside.sh is outside the DAGs folder`,
      "latin.yaml": `${at} the file latin.sh is not text in UTF-8`,
      "nul.yaml": `${at} the file nul.sh holds a NUL character`,
      "large.yaml": `${at} the file large.sh has 1048577 bytes; at most 1048576 are kept`,
      "folder.yaml": `${at} folder.sh is not a file`,
      "link.yaml": `${at} the file link.sh is outside the DAGs folder, where its link leads`,
    });
  });

  test("refuses a function that is not there and code outside the folder", async () => {
    await write("functions.ts", "export const go = () => 1;\n");
    await write("a.yaml", "id: a\ntasks:\n  - id: only\n    fn: ./functions.ts#stop\n");
    await write("b.yaml", "id: b\ntasks:\n  - id: only\n    fn: ../elsewhere.ts#go\n");
    await loader.pass();
    expect(await importErrors()).toEqual({
      "a.yaml": '1: functions.ts exports no function "stop"; it exports: go',
      "b.yaml": "1: the module ../elsewhere.ts is outside the DAGs folder",
    });
  });

  test("a moved file keeps its DAG, a vanished one marks it missing, and a doubled id is told", async () => {
    await write("a.yaml", yaml("a"));
    await write("b.yaml", yaml("b"));
    await loader.pass();
    await mkdir(path.join(dagsDir, "moved"));
    await rename(path.join(dagsDir, "a.yaml"), path.join(dagsDir, "moved/a.yaml"));
    await rm(path.join(dagsDir, "b.yaml"));
    await write("z.yaml", yaml("a", "false"));
    await loader.pass();
    expect(await versions()).toMatchObject([
      { id: "a", number: 1, missing: false },
      { id: "b", number: 1, missing: true },
    ]);
    expect(await importErrors()).toEqual({ "z.yaml": '1: the DAG id "a" is already used by moved/a.yaml' });
  });

  test("publishes tasks of plugins with what others must know of their types, and refuses what their schemas do", async () => {
    const places = { locations: [path.resolve("docs/plugins/chat.ts")], base: process.cwd() };
    const described = await describePlugins(places);
    if (!described.ok) throw new Error(described.problems.join());
    const { plugins } = described;
    const withPlugins = createLoader({ deps: database.deps, dagsDir, env: plainEnv(), plugins, place: ownPlace() });
    const task = (channel: string): string =>
      `{ webhook: "https://chat.example/hook", text: "hi", channel: "${channel}" }`;
    await write("tell.yaml", `id: tell\ntasks:\n  - id: only\n    chat: ${task("#ops")}\n`);
    await write(
      "code.ts",
      `import { dag } from "sluice";\nimport { chat } from "${places.locations[0]}";\nexport default dag("code").task("only", chat(${task("#ops")}));\n`,
    );
    await write("wrong.yaml", `id: wrong\ntasks:\n  - id: only\n    chat: ${task("ops")}\n`);
    await withPlugins.pass();
    expect((await versions()).map(({ id }) => id)).toEqual(["code", "tell"]);
    expect(await importErrors()).toEqual({
      "wrong.yaml": '4: task "only": chat.channel: a channel is written like #ops',
    });
    const { rows } = await database.pool.query<{ type: string; slots: string; types: unknown }>(
      `select k.type, w.slot_class as slots, v.spec -> 'types' as types from sluice.dag_task k
         join sluice.dag_version v on v.id = k.version_id join sluice.workload w on w.id = k.workload_id`,
    );
    const types = { chat: { displayName: "Chat message", icon: "message", slotClass: "inline" } };
    expect(rows).toEqual([
      { type: "chat", slots: "inline", types },
      { type: "chat", slots: "inline", types },
    ]);
  });
});
