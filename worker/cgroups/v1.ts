import path from "node:path";
import type { CgroupPlaces, GroupEnd, GroupLimits, Hierarchy } from "./groups.ts";
import { type CgroupFiles, pidsOf, removeQuietly, valueOf } from "./files.ts";

const CONTROLLERS = ["pids", "memory", "cpu", "cpuacct"] as const;
type Controller = (typeof CONTROLLERS)[number];

const MIB = 1024 * 1024;
const PERIOD_US = 100_000;
/** The kernel takes no less. */
const MIN_QUOTA_US = 1_000;
/** An empty group counts some hundred KiB: each processor takes memory in advance. */
const MAX_LEFT_BYTES = MIB;

/** Version 1: a tree for each controller, and a group in each of them. Throws where they cannot be written. */
export function openV1(worker: string, files: CgroupFiles, places: CgroupPlaces): Hierarchy {
  const homes = Object.fromEntries(
    CONTROLLERS.map((controller) => [controller, path.join(ownFolder(controller, files, places), "sluice", worker)]),
  ) as Record<Controller, string>;
  // Where one tree has two controllers, their groups are the same folder.
  const trees = [...new Set(Object.values(homes))];
  const of = (controller: Controller, name: string, file: string): string => path.join(homes[controller], name, file);
  for (const home of trees) files.make(home);

  return {
    make(name, limits) {
      for (const home of trees) files.make(path.join(home, name));
      for (const [controller, file, text] of settings(limits)) files.write(of(controller, name, file), text);
      limitSwap(files, of("memory", name, "memory.memsw.limit_in_bytes"), limits);
    },
    procs: (name) => trees.map((home) => path.join(home, name, "cgroup.procs")),
    kill(name) {
      // Without forks one look at the list is enough, also at a fork bomb.
      files.write(of("pids", name, "pids.max"), "0");
      for (const pid of pidsOf(files, path.join(homes.pids, name))) files.kill(pid);
    },
    isEmpty: (name) => pidsOf(files, path.join(homes.pids, name)).length === 0,
    read: (name): GroupEnd => ({
      usage: {
        peakMemoryBytes: Number(files.read(of("memory", name, "memory.max_usage_in_bytes"))),
        cpuMs: Math.round(Number(files.read(of("cpuacct", name, "cpuacct.usage"))) / 1e6),
      },
      outOfMemory: (valueOf(files.read(of("memory", name, "memory.oom_control")), "oom_kill") ?? 0) > 0,
    }),
    renew(name) {
      // The list of each tree: a task that is root might have left one of them.
      if (trees.some((home) => pidsOf(files, path.join(home, name)).length > 0)) return false;
      // Files in memory, and what the kernel keeps for the group, would be taken from the next one's limit.
      if (Number(files.read(of("memory", name, "memory.usage_in_bytes"))) > MAX_LEFT_BYTES) return false;
      files.write(of("memory", name, "memory.max_usage_in_bytes"), "0");
      files.write(of("cpuacct", name, "cpuacct.usage"), "0");
      return true;
    },
    removeGroup(name) {
      for (const home of trees) if (files.exists(path.join(home, name))) files.remove(path.join(home, name));
    },
    names: () => [...new Set(trees.flatMap((home) => files.folders(home)))],
    removeAll() {
      for (const home of trees) removeQuietly(files, home);
    },
  };
}

function settings({ memory, cpu, pids }: GroupLimits): [Controller, string, string][] {
  return [
    ...(pids > 0 ? [["pids", "pids.max", String(pids)] as [Controller, string, string]] : []),
    ...(memory > 0 ? [["memory", "memory.limit_in_bytes", String(memory * MIB)] as [Controller, string, string]] : []),
    ...(cpu > 0 ? [["cpu", "cpu.cfs_quota_us", String(quota(cpu))] as [Controller, string, string]] : []),
  ];
}

const quota = (cpu: number): number => Math.max(MIN_QUOTA_US, (cpu * PERIOD_US) / 1_000);

/** Else what does not fit goes to swap, and the machine crawls. Kernels without swap accounting have no such file. */
function limitSwap(files: CgroupFiles, file: string, { memory }: GroupLimits): void {
  if (memory > 0 && files.exists(file)) files.write(file, String(memory * MIB));
}

/** The folder of the group that this process is in; in a container the tree's root may be that group. */
function ownFolder(controller: Controller, files: CgroupFiles, { mounts, own }: CgroupPlaces): string {
  const mount = mounts
    .split("\n")
    .map((line) => line.split(" "))
    .find(([, , type, options]) => type === "cgroup" && options?.split(",").includes(controller))?.[1];
  if (mount === undefined) throw new Error(`control groups of version 1 have no ${controller}`);
  const line = own.split("\n").find((text) => text.split(":")[1]?.split(",").includes(controller));
  const folder = path.join(mount, line?.split(":").slice(2).join(":") ?? "");
  return files.exists(folder) ? folder : mount;
}
