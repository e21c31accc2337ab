import path from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import type { AttemptGroup, Cgroups } from "./groups.ts";
import { openCgroups } from "./open.ts";
import type { CgroupFiles } from "./files.ts";

const PLACES = { mounts: "cgroup2 /cg cgroup2 rw,nosuid 0 0\n", own: "0::/system.slice/sluice.service\n" };
const BASE = "/cg/system.slice/sluice.service";
const HOME = `${BASE}/sluice/w-1`;
const LIMITS = { memory: 512, cpu: 1_500, pids: 100 };

/** As much of a kernel's tree as is needed: folders get their files when they are made, and go only when empty. */
function fakeTree(options: { hasKill: boolean; busy: boolean }): {
  files: CgroupFiles;
  texts: Map<string, string>;
  killed: number[];
} {
  const texts = new Map<string, string>();
  const folders = new Set<string>();
  const killed: number[] = [];
  const addFolder = (folder: string): void => {
    folders.add(folder);
    for (const file of ["cgroup.procs", "cgroup.subtree_control", "memory.max", "memory.swap.max", "pids.max"])
      texts.set(path.join(folder, file), "");
    if (options.hasKill) texts.set(path.join(folder, "cgroup.kill"), "");
    texts.set(path.join(folder, "cgroup.events"), "populated 0\nfrozen 0\n");
    texts.set(path.join(folder, "cpu.stat"), "usage_usec 1234567\nuser_usec 1\n");
    texts.set(path.join(folder, "memory.events"), "low 0\noom 0\noom_kill 0\noom_group_kill 0\n");
    texts.set(path.join(folder, "memory.peak"), "1048576\n");
  };
  addFolder(BASE);
  texts.set(path.join(BASE, "cgroup.controllers"), "cpuset cpu io memory pids\n");
  if (options.busy) texts.set(path.join(BASE, "cgroup.procs"), "41\n42\n");
  const files: CgroupFiles = {
    exists: (file) => folders.has(file) || texts.has(file),
    make(folder) {
      for (let at = folder; !folders.has(at) && at !== "/"; at = path.dirname(at)) addFolder(at);
    },
    write(file, text) {
      if (!texts.has(file) && !folders.has(path.dirname(file))) throw new Error(`ENOENT ${file}`);
      if (path.basename(file) === "cgroup.subtree_control" && texts.get(path.join(path.dirname(file), "cgroup.procs")))
        throw new Error("EBUSY");
      if (path.basename(file) === "cgroup.procs")
        for (const [other, pids] of texts)
          if (path.basename(other) === "cgroup.procs") texts.set(other, pids.replace(`${text}\n`, ""));
      texts.set(file, text);
    },
    read(file) {
      const text = texts.get(file);
      if (text === undefined) throw new Error(`ENOENT ${file}`);
      return text;
    },
    remove(folder) {
      if (texts.get(path.join(folder, "cgroup.procs"))) throw new Error("EBUSY");
      folders.delete(folder);
    },
    folders: (folder) => [...folders].filter((one) => path.dirname(one) === folder).map((one) => path.basename(one)),
    kill: (pid) => void killed.push(pid),
  };
  return { files, texts, killed };
}

describe("control groups of version 2", () => {
  let tree: ReturnType<typeof fakeTree>;
  let cgroups: Cgroups;
  const text = (folder: string, name: string): string | undefined => tree.texts.get(path.join(folder, name));
  const folderOf = (group: AttemptGroup): string => path.dirname(group.procs[0]!);

  beforeEach(() => {
    tree = fakeTree({ hasKill: true, busy: false });
    cgroups = openCgroups("w-1", tree.files, () => PLACES);
  });

  test("hand the controllers down to the worker's own", () => {
    expect(cgroups.none).toBeUndefined();
    for (const folder of [BASE, `${BASE}/sluice`, HOME])
      expect(tree.texts.get(`${folder}/cgroup.subtree_control`)).toBe("+memory +pids +cpu");
  });

  test("move processes down where the group above may not have any", () => {
    tree = fakeTree({ hasKill: true, busy: true });
    cgroups = openCgroups("w-1", tree.files, () => PLACES);
    expect(cgroups.none).toBeUndefined();
    expect(tree.texts.get(`${BASE}/cgroup.procs`)).toBe("");
    const places = { ...PLACES, own: "0::/system.slice/sluice.service/sluice-processes\n" };
    expect(openCgroups("w-2", tree.files, () => places).none).toBeUndefined();
    expect(tree.files.exists(`${BASE}/sluice/w-2`)).toBe(true);
  });

  test("leave other people's processes where they are", () => {
    tree = fakeTree({ hasKill: true, busy: true });
    const session = "/cg/user.slice/session-3.scope";
    tree.files.make(session);
    for (const file of ["cgroup.procs", "cgroup.controllers"])
      tree.texts.set(`${session}/${file}`, tree.texts.get(`${BASE}/${file}`)!);
    const places = { ...PLACES, own: "0::/user.slice/session-3.scope\n" };
    expect(openCgroups("w-1", tree.files, () => places).none).toContain("run the worker as a service");
    expect(tree.texts.get(`${session}/cgroup.procs`)).toBe("41\n42\n");
  });

  test("limit memory, processors and processes of an attempt", () => {
    const folder = folderOf(cgroups.open(LIMITS));
    expect(path.dirname(folder)).toBe(HOME);
    expect(
      ["memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "pids.max"].map((name) => text(folder, name)),
    ).toEqual(["536870912", "0", "1", "150000 100000", "100"]);
    expect(text(folderOf(cgroups.open({ memory: 0, cpu: 0, pids: 0 })), "memory.max")).toBe("");
  });

  test("tell what was used, and that the system killed for want of memory", async () => {
    const group = cgroups.open(LIMITS);
    const folder = folderOf(group);
    tree.texts.set(`${folder}/memory.events`, "oom 3\noom_kill 2\noom_group_kill 1\n");
    expect(await group.close()).toEqual({ usage: { peakMemoryBytes: 1_048_576, cpuMs: 1_235 }, outOfMemory: true });
    expect(tree.files.exists(folder)).toBe(false);
  });

  test("are killed as a whole, or one by one on an older kernel", () => {
    for (const hasKill of [true, false]) {
      tree = fakeTree({ hasKill, busy: false });
      cgroups = openCgroups("w-1", tree.files, () => PLACES);
      const group = cgroups.open(LIMITS);
      const folder = folderOf(group);
      group.kill();
      expect(tree.killed).toEqual([]);
      tree.texts.set(`${folder}/cgroup.events`, "populated 1\n");
      tree.texts.set(`${folder}/cgroup.procs`, "7\n8\n");
      group.kill();
      expect([tree.killed, text(folder, "cgroup.kill")]).toEqual(hasKill ? [[], "1"] : [[7, 8], undefined]);
    }
  });

  test("of an earlier worker of the same name are removed", async () => {
    cgroups.open(LIMITS);
    expect(tree.files.folders(HOME)).toHaveLength(1);
    // Nothing ran in it, so nothing is told of it.
    expect(await cgroups.sweep()).toBe(0);
    expect(tree.files.folders(HOME)).toEqual([]);
  });

  test("without a controller, or without permission, are none, and say why", () => {
    tree.texts.set(`${BASE}/cgroup.controllers`, "cpu pids\n");
    expect(openCgroups("w-1", tree.files, () => PLACES).none).toContain("no memory here");
    const denied = {
      ...tree.files,
      make: () => {
        throw new Error("EACCES");
      },
    };
    tree.texts.set(`${BASE}/cgroup.controllers`, "cpu memory pids\n");
    expect(openCgroups("w-1", denied, () => PLACES).none).toContain("EACCES");
    expect(
      openCgroups("w-1", tree.files, () => {
        throw new Error("no /proc");
      }).none,
    ).toContain("no /proc");
  });
});
