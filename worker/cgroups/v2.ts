import path from "node:path";
import type { CgroupPlaces, GroupEnd, GroupLimits, Hierarchy } from "./groups.ts";
import { type CgroupFiles, pidsOf, readIfThere, removeQuietly, valueOf } from "./files.ts";

const CONTROLLERS = ["memory", "pids", "cpu"] as const;
const MIB = 1024 * 1024;
const PERIOD_US = 100_000;
const MIN_QUOTA_US = 1_000;

/** Where the processes of a group go that is to have groups below it. */
const SERVICE_GROUP = "sluice-processes";

/** Version 2: one tree for all controllers. Throws where it cannot be written. */
export function openV2(worker: string, files: CgroupFiles, places: CgroupPlaces): Hierarchy {
  const base = ownFolder(files, places);
  const home = path.join(base, "sluice", worker);
  delegate(files, base, isAllOurs(places));
  files.make(home);
  delegate(files, path.join(base, "sluice"), false);
  delegate(files, home, false);
  const of = (name: string, file: string): string => path.join(home, name, file);

  return {
    make(name, limits) {
      files.make(path.join(home, name));
      for (const [file, text] of settings(limits)) files.write(of(name, file), text);
      // Else what does not fit goes to swap, and the machine crawls. Kernels without swap have no such file.
      const swap = of(name, "memory.swap.max");
      if (limits.memory > 0 && files.exists(swap)) files.write(swap, "0");
    },
    procs: (name) => [of(name, "cgroup.procs")],
    kill(name) {
      if (files.exists(of(name, "cgroup.kill"))) return files.write(of(name, "cgroup.kill"), "1");
      // Before Linux 5.14. Without forks one look at the list is enough, also at a fork bomb.
      files.write(of(name, "pids.max"), "0");
      for (const pid of pidsOf(files, path.join(home, name))) files.kill(pid);
    },
    isEmpty: (name) => valueOf(files.read(of(name, "cgroup.events")), "populated") === 0,
    read(name): GroupEnd {
      const peak = readIfThere(files, of(name, "memory.peak"));
      const cpuUs = valueOf(files.read(of(name, "cpu.stat")), "usage_usec");
      const events = files.read(of(name, "memory.events"));
      return {
        usage: {
          peakMemoryBytes: peak === undefined ? undefined : Number(peak),
          cpuMs: cpuUs === undefined ? undefined : Math.round(cpuUs / 1_000),
        },
        outOfMemory: (valueOf(events, "oom_kill") ?? 0) > 0,
      };
    },
    // The peak of a group cannot be taken back before Linux 6.12, and then only for who has its file open.
    renew: () => false,
    removeGroup(name) {
      if (files.exists(path.join(home, name))) files.remove(path.join(home, name));
    },
    names: () => files.folders(home),
    removeAll() {
      removeQuietly(files, home);
    },
  };
}

function settings({ memory, cpu, pids }: GroupLimits): [string, string][] {
  const settings: [string, string][] = [];
  if (pids > 0) settings.push(["pids.max", String(pids)]);
  if (memory > 0) {
    // All of the attempt or nothing of it: half of a pipeline that goes on would give a wrong result.
    settings.push(["memory.oom.group", "1"], ["memory.max", String(memory * MIB)]);
  }
  if (cpu > 0) settings.push(["cpu.max", `${Math.max(MIN_QUOTA_US, (cpu * PERIOD_US) / 1_000)} ${PERIOD_US}`]);
  return settings;
}

/**
 * Hands the controllers down to the groups below `folder`. A group that does so has no processes of its own (only the
 * root may have both), so those in it go down as well: when all of them are of the same service or container as we.
 */
function delegate(files: CgroupFiles, folder: string, mayMove: boolean): void {
  const control = path.join(folder, "cgroup.subtree_control");
  const has = files.read(control).trim().split(/\s+/);
  const missing = CONTROLLERS.filter((controller) => !has.includes(controller));
  if (missing.length === 0) return;
  const text = missing.map((controller) => `+${controller}`).join(" ");
  try {
    files.write(control, text);
  } catch (error) {
    if (!mayMove)
      throw new Error(`${folder} hands down no ${missing.join(", ")}; run the worker as a service or in a container`, {
        cause: error,
      });
    const service = path.join(folder, SERVICE_GROUP);
    files.make(service);
    for (const pid of pidsOf(files, folder)) move(files, pid, service);
    files.write(control, text);
  }
}

/** A service of systemd, or the whole of a container; but not a login session, with a shell and others in it. */
function isAllOurs({ own }: CgroupPlaces): boolean {
  const group = ownGroup(own);
  return group === "/" || group.endsWith(".service");
}

/** The name of the group that this process is in. An earlier start may have moved all of us down. */
function ownGroup(own: string): string {
  const line = own.split("\n").find((text) => text.startsWith("0::"));
  return line?.slice(3).replace(`/${SERVICE_GROUP}`, "") || "/";
}

function move(files: CgroupFiles, pid: number, folder: string): void {
  try {
    files.write(path.join(folder, "cgroup.procs"), String(pid));
  } catch {
    // It ended meanwhile, or else the next write to the group fails too and says why.
  }
}

/** The folder of the group that this process is in, when it has the controllers we need. */
function ownFolder(files: CgroupFiles, { mounts, own }: CgroupPlaces): string {
  const mount = mounts
    .split("\n")
    .map((line) => line.split(" "))
    .find(([, , type]) => type === "cgroup2")?.[1];
  if (mount === undefined) throw new Error("there are no control groups of version 2");
  const ours = path.join(mount, ownGroup(own));
  const folder = files.exists(ours) ? ours : mount;
  const has = files.read(path.join(folder, "cgroup.controllers")).trim().split(/\s+/);
  const missing = CONTROLLERS.filter((controller) => !has.includes(controller));
  if (missing.length > 0) throw new Error(`control groups of version 2 have no ${missing.join(", ")} here`);
  return folder;
}
