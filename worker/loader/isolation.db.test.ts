import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns } from "#lib/testing/engine.ts";
import { allEnded } from "#lib/testing/processes.ts";
import { held } from "#lib/testing/races.ts";
import { ownPlace } from "#worker/guests/place.ts";
import { createUserPool } from "../user-pool.ts";
import { schedulersOf } from "../task-user.ts";
import type { Evaluator } from "./evaluator.ts";
import { loadFile } from "./load-file.ts";
import { createLoader, type Loader } from "./loader.ts";

/** Whatever becomes of one file, all others are published, what is gone is marked, and each that is broken says so. */

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

const yaml = (id: string, command = "true"): string => `id: ${id}\ntasks:\n  - id: only\n    bash: "${command}"\n`;

/** Each DAG with its newest version, or that its file is gone. */
async function dags(): Promise<Record<string, number | "missing">> {
  const { rows } = await database.pool.query<{ id: string; number: number; missing: boolean }>(
    `select d.id, v.number, d.missing from sluice.dag d join sluice.dag_version v on v.id = d.current_version_id order by 1`,
  );
  return Object.fromEntries(rows.map(({ id, number, missing }) => [id, missing ? "missing" : number]));
}

async function importErrors(): Promise<Record<string, string>> {
  const { rows } = await database.pool.query<{ file: string; problems: { message: string }[] }>(
    "select file, problems from sluice.import_error order by 1",
  );
  return Object.fromEntries(rows.map(({ file, problems }) => [file, problems[0]!.message]));
}

/** `b` is new, `broken` cannot be read, and `old` is gone: what is to be done beside `a`. */
async function others(): Promise<void> {
  await write("old.yaml", yaml("old"));
  await loader.pass();
  await rm(path.join(dagsDir, "old.yaml"));
  await write("b.yaml", yaml("b"));
  await write("broken.yaml", "id: broken\n");
}

const OTHERS = { b: 1, old: "missing" };
const BROKEN = { "broken.yaml": expect.stringMatching(/tasks/) as string };

/** What the database does when a DAG whose id begins with "bad" is written. */
async function whenWritten(what: string, table = "dag", column = "id"): Promise<void> {
  await database.pool.query(
    `create function sluice.test_refuse() returns trigger language plpgsql as $$
     begin if new.${column} like 'bad%' then ${what}; end if; return new; end $$`,
  );
  await database.pool.query(
    `create trigger test_refuse before insert or update on sluice.${table} for each row execute function sluice.test_refuse()`,
  );
  onTestFinished(async () => void (await database.pool.query("drop function if exists sluice.test_refuse cascade")));
}

const asItWas = () => database.pool.query("drop function sluice.test_refuse cascade");

describe("a DAG that cannot be stored", () => {
  const bash = 'tasks:\n  - id: only\n    bash: "true"\n';
  test.for([
    ["half of a character in a command", String.raw`id: a${"\n"}tasks: [{ id: only, bash: "echo \uD800" }]`],
    ["a NUL in a default", String.raw`id: a${"\n"}params: { p: { default: "\0" } }${"\n"}${bash}`],
    ["a NUL in the file itself", `id: a # \0\n${bash}`],
  ])("keeps no other from being published: %s", async ([, text]) => {
    await others();
    await write("a.yaml", text!);
    await loader.pass();
    expect(await dags()).toEqual(OTHERS);
    expect(await importErrors()).toEqual({ "a.yaml": expect.stringMatching(/NUL|surrogate/), ...BROKEN });
  });

  test("through the code of its functions says so", async () => {
    await write("go.ts", "export const go = () => 1; // \0\n");
    await write("a.yaml", "id: a\ntasks:\n  - id: only\n    fn: ./go.ts#go\n");
    await write("c.ts", 'import { dag, noop } from "sluice"; // \0\nexport default dag("c").task("x", noop());\n');
    await write("b.yaml", yaml("b"));
    await loader.pass();
    expect(await dags()).toEqual({ b: 1 });
    expect(await importErrors()).toEqual({
      "a.yaml": expect.stringMatching(/^the file go.ts holds a NUL/),
      "c.ts": expect.stringMatching(/^the file holds a NUL/),
    });
  });

  test("for any other reason of the data is told with that, and not tried again until it changes", async () => {
    await whenWritten("raise exception 'no such value' using errcode = 'data_exception'");
    await others();
    await write("a.yaml", yaml("bad"));
    await loader.pass();
    expect(await dags()).toEqual(OTHERS);
    expect(await importErrors()).toEqual({ "a.yaml": "the DAG cannot be stored: no such value", ...BROKEN });
    await asItWas();
    await write("c.yaml", yaml("c"));
    await loader.pass();
    expect(await dags()).toEqual({ ...OTHERS, c: 1 });
    await write("a.yaml", yaml("bad", "false"));
    await loader.pass();
    expect(await dags()).toEqual({ ...OTHERS, bad: 1, c: 1 });
    expect(await importErrors()).toEqual(BROKEN);
  });

  test("for a reason that may pass is told with that, and tried again with the next change", async () => {
    await whenWritten("raise exception 'not now' using errcode = 'integrity_constraint_violation'");
    await others();
    await write("a.yaml", yaml("bad"));
    await loader.pass();
    expect(await dags()).toEqual(OTHERS);
    expect(await importErrors()).toEqual({ "a.yaml": "the DAG cannot be stored: not now", ...BROKEN });
    await asItWas();
    await write("c.yaml", yaml("c"));
    await loader.pass();
    expect(await dags()).toEqual({ ...OTHERS, bad: 1, c: 1 });
    expect(await importErrors()).toEqual(BROKEN);
  });

  test("is one of many: half of them are published, and half are told", async () => {
    await whenWritten("raise exception 'no such value' using errcode = 'data_exception'");
    const names = Array.from({ length: 60 }, (_, n) => (n % 2 === 0 ? `bad-${n}` : `good-${n}`));
    for (const name of names) await write(`${name}.yaml`, yaml(name));
    await loader.pass();
    expect(Object.keys(await dags())).toHaveLength(30);
    expect(Object.keys(await importErrors()).every((file) => file.startsWith("bad-"))).toBe(true);
    expect(Object.keys(await importErrors())).toHaveLength(30);
  });

  test("in a file that it was moved to has its last version kept, and marked", async () => {
    await write("a.yaml", yaml("bad"));
    await loader.pass();
    await whenWritten("raise exception 'no such value' using errcode = 'data_exception'");
    await rm(path.join(dagsDir, "a.yaml"));
    await write("b.yaml", yaml("bad", "false"));
    await loader.pass();
    expect(await importErrors()).toEqual({ "b.yaml": "the DAG cannot be stored: no such value" });
    await asItWas();
    await loader.pass();
    await write("c.yaml", yaml("c"));
    await loader.pass();
    expect(await dags()).toEqual({ bad: "missing", c: 1 });
  });
});

describe("a DAG that another session has locked", () => {
  test("comes with a later pass, and keeps no other from being published", async () => {
    await write("a.yaml", yaml("a"));
    await others();
    const lock = await held(database.deps, (tx) => tx.query("select from sluice.dag where id = 'a' for update"));
    await write("a.yaml", yaml("a", "false"));
    await expect(loader.pass()).rejects.toThrow(/^left to the next pass: a\.yaml: .*lock timeout/);
    expect(await dags()).toEqual({ a: 1, ...OTHERS });
    expect(await importErrors()).toEqual(BROKEN);
    await lock.commit();
    await loader.pass();
    expect(await dags()).toEqual({ a: 2, ...OTHERS });
  });

  test("is not marked as missing while it is being moved, nor while it is locked", async () => {
    await write("a.yaml", yaml("a"));
    await write("gone.yaml", yaml("gone"));
    await loader.pass();
    const lock = await held(database.deps, (tx) =>
      tx.query("select from sluice.dag where id in ('a', 'gone') for update"),
    );
    await rename(path.join(dagsDir, "a.yaml"), path.join(dagsDir, "moved.yaml"));
    await rm(path.join(dagsDir, "gone.yaml"));
    await write("b.yaml", yaml("b"));
    await expect(loader.pass()).rejects.toThrow(/^left to the next pass: moved\.yaml \(and 1 more\)/);
    expect(await dags()).toEqual({ a: 1, b: 1, gone: 1 });
    await lock.commit();
    await loader.pass();
    expect(await dags()).toEqual({ a: 1, b: 1, gone: "missing" });
  });

  test("is one of many: the pass waits for all of them together no longer than for a few", async () => {
    const names = Array.from({ length: 40 }, (_, n) => `dag-${n}`);
    for (const name of names) await write(`${name}.yaml`, yaml(name));
    await loader.pass();
    const lock = await held(database.deps, (tx) => tx.query("select from sluice.dag for update"));
    for (const name of names) await write(`${name}.yaml`, yaml(name, "false"));
    await write("z.yaml", yaml("z"));
    const since = performance.now();
    await expect(loader.pass()).rejects.toThrow(/\(and 39 more\)/);
    // Each for two seconds would take eighty.
    expect(performance.now() - since).toBeLessThan(40_000);
    expect(await dags()).toMatchObject({ z: 1 });
    await lock.commit();
    await loader.pass();
    expect(new Set(Object.values(await dags()))).toEqual(new Set([1, 2]));
  });
});

test("a connection that is lost in the middle costs the DAG that it was for one pass", async () => {
  await whenWritten("perform pg_terminate_backend(pg_backend_pid())");
  await others();
  await write("a.yaml", yaml("bad"));
  await expect(loader.pass()).rejects.toThrow(/^left to the next pass: a\.yaml/);
  expect(await dags()).toEqual(OTHERS);
  expect(await importErrors()).toEqual(BROKEN);
  await asItWas();
  await loader.pass();
  expect(await dags()).toEqual({ bad: 1, ...OTHERS });
});

describe("why a file cannot be loaded", () => {
  test("is told even when that is no text itself, or far too much", async () => {
    await write("nul.ts", 'import "sluice";\nthrow new Error("a\\0b \\ud800");\n');
    await write("long.ts", 'import "sluice";\nthrow new Error("x".repeat(1e6));\n');
    await write("key.yaml", String.raw`{ id: a, "\uD800": 1, tasks: [{ id: only, noop: }] }`);
    await write("b.yaml", yaml("b"));
    await loader.pass();
    expect(await dags()).toEqual({ b: 1 });
    expect(await importErrors()).toEqual({
      "nul.ts": expect.stringContaining("a\uFFFDb \uFFFD"),
      "long.ts": expect.stringMatching(/^Error: x{9000}/),
      "key.yaml": expect.stringContaining("\uFFFD"),
    });
  });

  test("that cannot be stored keeps no other from being told", async () => {
    await whenWritten("raise exception 'no such value' using errcode = 'data_exception'", "import_error", "file");
    await others();
    await write("bad.yaml", "id: bad\n");
    await loader.pass();
    expect(await dags()).toEqual(OTHERS);
    expect(await importErrors()).toEqual(BROKEN);
  });
});

test("a JSON that is far too large for a definition is not read", async () => {
  await write("data.json", `["${"x".repeat(5_000_000)}"]`);
  await write("b.yaml", yaml("b"));
  await loader.pass();
  expect(await dags()).toEqual({ b: 1 });
  expect(await importErrors()).toEqual({ "data.json": "the file has 5000004 bytes; at most 4194304 are read" });
});

/** As somebody who is not root, whom nothing stops. */
async function asNobody(work: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid!() === 0;
  if (isRoot) process.seteuid!(65_534);
  try {
    await work();
  } finally {
    if (isRoot) process.seteuid!(0);
  }
}

test("a folder that cannot be read costs only itself: its DAGs are as they were, and it says so", async () => {
  await chmod(dagsDir, 0o755);
  await write("team/a.yaml", yaml("a"));
  await write("closed/c.yaml", yaml("c"));
  await others();
  await chmod(path.join(dagsDir, "team"), 0o000);
  // Its files can be listed, and not looked at.
  await chmod(path.join(dagsDir, "closed"), 0o744);
  await asNobody(() => loader.pass());
  expect(await dags()).toEqual({ a: 1, c: 1, ...OTHERS });
  expect(await importErrors()).toEqual({
    "closed/c.yaml": expect.stringMatching(/EACCES/),
    "team/": "the folder cannot be read (EACCES)",
    ...BROKEN,
  });
  await chmod(path.join(dagsDir, "team"), 0o755);
  await chmod(path.join(dagsDir, "closed"), 0o755);
  await rm(path.join(dagsDir, "team/a.yaml"));
  await asNobody(() => loader.pass());
  expect(await dags()).toEqual({ a: "missing", c: 1, ...OTHERS });
  expect(await importErrors()).toEqual(BROKEN);
});

describe("a file whose code writes into the pipe to the loader", () => {
  const frame = `
    import "sluice";
    import { writeSync } from "node:fs";
    const answer = (text: string, id = 1, length = Buffer.byteLength(text)) => {
      const head = Buffer.alloc(9);
      head.writeUInt32BE(5 + length, 0);
      head.write("V", 4);
      head.writeUInt32BE(id, 5);
      writeSync(4, Buffer.concat([head, Buffer.from(text)]));
    };
  `;
  test.for([
    ["garbage", 'writeSync(4, "NODE_HANDLE_ACK and more");', /unknown letter/],
    ["a length that nothing has", 'answer("", 1, 2 ** 32 - 6);', /bytes; it may have/],
    ["no JSON", 'answer("{");', /JSON/],
    [
      "a DAG that is none",
      'answer(JSON.stringify({ ok: true, files: {}, spec: { id: "x", tasks: 7 } }));',
      /spec\.tasks/,
    ],
    [
      "more mistakes than can be told",
      'answer(`{"ok":true,"files":{},"parsed":{"ok":false,"problems":[${"0,".repeat(999_999)}0]}}`);',
      /50000 elements/,
    ],
    ["files that are none", "answer(JSON.stringify({ ok: true, files: { a: 1 } }));", /files\.a/],
    ["an answer to another request", "answer(JSON.stringify({ ok: true, files: {} }), 99);", /was not asked/],
  ] as const)("has an error of its own: %s", async ([, code, why]) => {
    await others();
    await write("a.ts", `${frame}\n${code}\nawait new Promise((done) => setTimeout(done, 60_000));\n`);
    await write("c.ts", 'import { dag, noop } from "sluice";\nexport default dag("c").task("x", noop());\n');
    await loader.pass();
    expect(await dags()).toEqual({ ...OTHERS, c: 1 });
    expect(await importErrors()).toEqual({
      "a.ts": expect.stringMatching(new RegExp(`^the file wrote into the pipe.*${why.source}`)),
      ...BROKEN,
    });
  });

  test("has no channel of Node's to it", async () => {
    await write(
      "a.ts",
      'import { dag, noop } from "sluice";\nexport default dag(`a-${typeof process.send}`).task("x", noop());\n',
    );
    await loader.pass();
    expect(await dags()).toEqual({ "a-undefined": 1 });
  });
});

test("a file that is data is read where it can be stopped, and costs the scheduler's process nothing but its answer", async () => {
  // A million characters of a shape that takes long wherever it is read.
  await write("slow.yaml", `id: slow\ntasks:\n${"  - {id: x, bash: y}\n".repeat(45_000)}`);
  await write("b.yaml", yaml("b"));
  const before = process.cpuUsage();
  await loader.pass();
  const { user, system } = process.cpuUsage(before);
  expect((await importErrors())["slow.yaml"]).toMatch(/./);
  expect(await dags()).toEqual({ b: 1 });
  expect((user + system) / 1e6).toBeLessThan(1);
});

test("nothing that a file starts is there behind the pass", async () => {
  const pids = path.join(dagsDir, "pids");
  const start = `spawn("setsid", ["sh", "-c", "echo $$ >> ${pids}; exec sleep 600"], { detached: true, stdio: "ignore", env: { PATH: "/bin:/usr/bin" } })`;
  await write(
    "starts.ts",
    `import { bash, dag } from "sluice"; import { spawn } from "node:child_process"; import { existsSync } from "node:fs";
     ${start}; while (!existsSync("${pids}")); export default dag("starts").task("only", bash("true"));`,
  );
  await loader.pass();
  expect(await dags()).toEqual({ starts: 1 });
  expect(await allEnded((await readFile(pids, "utf8")).trim().split("\n").map(Number))).toBe(true);
});

test.runIf(process.getuid?.() === 0)(
  "a file is evaluated as the user of tasks, and can end no process of ours",
  async () => {
    await chmod(dagsDir, 0o755);
    const users = createUserPool([{ uid: 60_021, gid: 60_021 }]);
    const workFolder = await mkdtemp(path.join(os.tmpdir(), "sluice-guests-"));
    await chmod(workFolder, 0o711);
    const other = createLoader({
      deps: database.deps,
      dagsDir,
      env: plainEnv(),
      place: { ...ownPlace(workFolder), users },
    });
    await write(
      "who.ts",
      `import { bash, dag } from "sluice"; let said = "";
     try { process.kill(${process.pid}, 0); } catch (error) { said = error.code; }
     export default dag("who-" + process.getuid() + "-" + said.toLowerCase()).task("only", bash("true"));`,
    );
    await other.pass();
    expect(await dags()).toEqual({ "who-60021-eperm": 1 });
    await rm(workFolder, { recursive: true });
  },
);

test.runIf(process.getuid?.() === 0)("a range has users enough for all files of a pass", async () => {
  await chmod(dagsDir, 0o755);
  const workFolder = await mkdtemp(path.join(os.tmpdir(), "sluice-guests-"));
  await chmod(workFolder, 0o711);
  const range = Array.from({ length: 20 }, (_, n) => ({ uid: 60_100 + n, gid: 60_100 + n }));
  const place = { ...ownPlace(workFolder), users: createUserPool(schedulersOf(range)) };
  const other = createLoader({ deps: database.deps, dagsDir, env: plainEnv(), place });
  const names = ["a", "b", "c", "d", "e", "f"];
  for (const name of names)
    await write(
      `${name}.ts`,
      `import { bash, dag } from "sluice";\nexport default dag("${name}").task("x", bash("true"));\n`,
    );
  // Each of them ends its guest, and the next one is started while that one is being ended.
  for (const name of names) await write(`${name}-ends.ts`, 'import "sluice";\nprocess.exit(3);\n');
  await other.pass();
  expect(await dags()).toEqual(Object.fromEntries(names.map((name) => [name, 1])));
  expect(JSON.stringify(await importErrors())).not.toContain("is taken");
  other.stop();
  await rm(workFolder, { recursive: true, force: true });
});

test("what is no file any more, or too large for one, is not read", async () => {
  execFileSync("mkfifo", [path.join(dagsDir, "pipe.yaml")]);
  await write("large.ts", `import "sluice"; // ${"x".repeat(5_000_000)}`);
  const evaluator: Evaluator = { evaluate: () => Promise.reject(new Error("not asked for")), stop: () => undefined };
  const problemOf = async (file: string): Promise<unknown> => {
    const result = await loadFile(dagsDir, file, evaluator, []);
    return result.kind === "broken" ? result.problems[0]!.message : result;
  };
  expect(await problemOf("pipe.yaml")).toBe("the file is no regular file");
  expect(await problemOf("large.ts")).toMatch(/^the file has 50000\d\d bytes; at most \d+ are read$/);
});
