import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { spawnSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import type { Exit } from "#lib/executors/executor.ts";
import { allEnded } from "#lib/testing/processes.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createFunctionPool } from "./functions/pool.ts";
import { createBundleStore } from "./functions/bundle-store.ts";
import { ownPlace } from "./guests/place.ts";
import { createSpawner, type Spawner } from "./spawner/client.ts";
import type { SpawnerProgram } from "./spawner/launch.ts";
import { findTaskUsers, schedulersOf, taskUserTrouble, workersOf } from "./task-user.ts";
import { createUserPool } from "./user-pool.ts";
import { writeNothing } from "./worker/nothing.ts";

const isRoot = process.getuid?.() === 0;
const mayAdminister = isRoot && spawnSync("unshare", ["--ipc", "true"]).status === 0;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-users-"));
  await chmod(folder, 0o711);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.runIf(isRoot)("a worker that is root", () => {
  test("takes nobody when it is told nothing", async () => {
    expect((await findTaskUsers(undefined)).users).toEqual([{ uid: expect.any(Number), gid: expect.any(Number) }]);
    expect((await findTaskUsers(undefined)).users[0]!.uid).not.toBe(0);
    expect(await findTaskUsers("root")).toEqual({ users: [], why: "SLUICE_TASK_USER says so" });
  });

  test("takes a number or a range as they are, and says what is wrong with them", async () => {
    expect(await findTaskUsers("60123")).toEqual({ users: [{ uid: 60_123, gid: 60_123 }] });
    const five = await findTaskUsers("60001-60005");
    expect(five.users.map((user) => user.uid)).toEqual([60_001, 60_002, 60_003, 60_004, 60_005]);
    const { users } = await findTaskUsers("60001-60018");
    expect(schedulersOf(users)).toEqual(users.slice(-8));
    expect(workersOf(users, { processSlots: 4, functionSlots: 1 })).toEqual(users.slice(0, 10));
    const many = { processSlots: 4, functionSlots: 2 };
    expect(() => workersOf(users, many)).toThrow("4 process slots and 2 function slots need one of 20");
    expect(workersOf(users.slice(0, 1), many)).toEqual(users.slice(0, 1));
    await expect(findTaskUsers("no-such-user")).rejects.toThrow("there is no such user");
  });
});

test.runIf(!isRoot && process.platform === "linux")("a worker that is not root shares its user", async () => {
  expect(await findTaskUsers(undefined)).toEqual({ users: [], why: "the worker is not root" });
  await expect(findTaskUsers("0")).rejects.toThrow("the worker is not root");
});

describe.runIf(isRoot).each<SpawnerProgram>(["perl", "node"])("a task of another user, started in %s", (program) => {
  const users = createUserPool([60_001, 60_002, 60_003].map((id) => ({ uid: id, gid: id })));
  let spawner: Spawner;
  let processes = 0;

  beforeAll(() => {
    spawner = createSpawner({ env: plainEnv(), program, log: SILENT, users });
  });
  afterAll(() => spawner.stop());

  async function run(
    command: string,
    files: Record<string, string> = {},
    onText: (text: string) => void = () => undefined,
    signal = new AbortController().signal,
    cwd?: string,
  ): Promise<Exit & { text: string; folder: string }> {
    let text = "";
    const own = path.join(folder, `${program}-${++processes}`);
    const env = { PATH: "/usr/bin:/bin", HOME: own };
    const outputs = [{ name: "out", maxBytes: 100 }];
    const request = { file: "bash", args: ["-c", command], env, folder: own, cwd, files, outputs };
    const exit = await spawner.run(request, signal, async (_, bytes) => {
      onText((text += bytes.toString()));
    });
    return { ...exit, text, folder: own };
  }

  test("has its user, its group and no other, its folder and its output", async () => {
    const { text, outputs } = await run("id -u; id -g; id -G; cat in; echo done > out; stat -c %u .", { in: "read\n" });
    expect(text).toMatch(/^(6000[123])\n\1\n\1\nread\n\1\n$/);
    expect(outputs).toEqual([{ size: 5, text: "done\n" }]);
  });

  test.runIf(program === "perl")(
    "takes all that runs as its user with it, and gains no power by a program",
    async () => {
      // Of another session and with no variable of ours, behind a parent that is gone.
      const { text } = await run(
        `grep NoNewPrivs /proc/self/status; env -i setsid sh -c 'echo $$; exec sleep 600 >/dev/null 2>&1' & sleep 0.2`,
      );
      expect(text).toMatch(/^NoNewPrivs:\s1\n\d+\n$/);
      expect(await allEnded([Number(text.split("\n")[1])])).toBe(true);
    },
  );

  test.runIf(program === "perl")("is not waited for when nothing of it is left", async () => {
    const since = performance.now();
    for (let n = 0; n < 8; n++) expect(await run("true")).toMatchObject({ code: 0 });
    // What is left is waited for a second each.
    expect(performance.now() - since).toBeLessThan(8_000);
  });

  test.runIf(program === "perl" && mayAdminister)("leaves no shared memory behind", async () => {
    const { text } = await run(`perl -e 'print defined shmget(0, 4096, 0600) ? "made" : "none"'`);
    expect(text).toBe("made");
    const owners = (await readFile("/proc/sysvipc/shm", "utf8")).split("\n").map((line) => line.trim().split(/\s+/)[7]);
    expect(owners.filter((uid) => uid?.startsWith("6000"))).toEqual([]);
  });

  test("works in a folder below its own that is its user's, and in no folder that is closed to it", async () => {
    const at = (cwd: string): Promise<Exit & { text: string }> =>
      run("pwd; stat -c %u . ..; touch made", {}, undefined, undefined, cwd);
    const { code, text } = await at("a/b");
    expect([code, text]).toEqual([0, expect.stringMatching(/\/a\/b\n(6000[123])\n\1\n$/)]);
    const closed = path.join(folder, `closed-${program}`);
    await mkdir(closed, { mode: 0o700 });
    const refused = await at(closed);
    expect(refused.error ?? refused.text).toMatch(/^chdir .* EACCES$|cd: .*closed/);
  });

  test("cannot keep its folder from being removed", async () => {
    const exit = await run("mkdir -p a/b; touch a/b/c; chmod 0 a/b a; chmod 0 .");
    expect(exit.code).toBe(0);
    await expect.poll(() => readdir(folder)).not.toContain(path.basename(exit.folder));
  });

  test("cannot read the environment, the memory and the files of the worker", async () => {
    const secret = path.join(folder, "secret");
    await writeFile(secret, "top secret", { mode: 0o600 });
    const { text } = await run(
      `cat /proc/${process.pid}/environ; head -c 1 /proc/${process.pid}/mem; cat ${secret}; ls ${folder}; kill -0 ${process.pid}; ln ${secret} out; ls /proc/${process.pid}/fd; true`,
    );
    expect(text.match(/Permission denied|Operation not permitted/g)).toHaveLength(7);
    expect(text).not.toContain("top secret");
  });

  test("can read the file that stands for inputs that say nothing, and neither change nor replace it", async () => {
    const work = path.join(folder, `work-${program}`);
    await mkdir(work, { mode: 0o711 });
    const nothing = await writeNothing(work);
    const { text } = await run(
      `cat ${nothing}; echo x > ${nothing}; rm -f ${nothing}; echo x > y; mv -f y ${nothing}; true`,
    );
    expect(text.match(/Permission denied/g)).toHaveLength(3);
    expect([text.slice(0, 2), await readFile(nothing, "utf8")]).toEqual(["{}", "{}"]);
  });

  test("cannot hand out a file of the worker as its output", async () => {
    const secret = path.join(folder, "secret");
    await writeFile(secret, "top secret", { mode: 0o600 });
    expect((await run(`ln -s ${secret} out`)).outputs).toEqual([{ trouble: "it is a link" }]);
  });

  test("cannot look into the folder, the environment or the streams of another one, nor end it", async () => {
    const stop = new AbortController();
    const up = Promise.withResolvers<string>();
    const other = run("echo mine > kept; echo $$; exec sleep 300", {}, up.resolve, stop.signal);
    const kept = path.join(folder, `${program}-${processes}`, "kept");
    const pid = (await up.promise).trim();
    const seen = await run(
      `cat ${kept}; cat /proc/${pid}/environ; ls /proc/${pid}/cwd/; echo forged > /proc/${pid}/fd/1; kill -9 ${pid}; true`,
    );
    expect(seen.text.match(/Permission denied|Operation not permitted/g)).toHaveLength(5);
    stop.abort();
    expect(await other).toMatchObject({ signal: "SIGTERM", text: `${pid}\n` });
  });
});

describe.runIf(isRoot)("functions", () => {
  test("run as the task user too, and can read their code", async () => {
    const store = createBundleStore(path.join(folder, "bundles"), async () => ({
      "code.ts":
        "export const who = () => [process.getuid(), process.getgid(), process.getgroups(), process.env.HOME];",
    }));
    const users = createUserPool([{ uid: 60_001, gid: 60_001 }]);
    const place = { ...ownPlace(folder), users };
    const pool = createFunctionPool({ dagsDir: folder, env: plainEnv(), folderOf: store.folderOf, place });
    const call = { bundle: "b", module: "code.ts", export: "who", argument: {} };
    const result = await pool.call(call, new AbortController().signal, () => undefined);
    const home = expect.stringMatching(`^${folder}/guest-`);
    expect(result).toEqual({ ok: true, value: [60_001, 60_001, [60_001], home] });
    await pool.stop();
  });

  test("and tasks are tried out before a worker takes any", async () => {
    const users = createUserPool([{ uid: 60_001, gid: 60_001 }]);
    const spawner = createSpawner({ env: plainEnv(), log: SILENT, users });
    expect(await taskUserTrouble(spawner, folder, { there: [folder] })).toBeUndefined();
    const closed = path.join(folder, "closed");
    await mkdir(closed, { mode: 0o700 });
    const tried = [{ there: [path.join(closed, "dags")] }, { readable: [closed] }, { readable: [folder] }];
    for (const wanted of tried) expect(await taskUserTrouble(spawner, folder, wanted)).toContain("EACCES");
    expect(await taskUserTrouble(spawner, folder, { there: [closed], readable: [] })).toBeUndefined();
    expect(await taskUserTrouble(spawner, closed, {})).toContain("EACCES");
    await spawner.stop();
  });
});
