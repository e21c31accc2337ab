import type { Usage } from "#lib/executors/executor.ts";

/** Limits of one attempt: MiB, thousandths of a processor, processes and threads. 0 is no limit. */
export type GroupLimits = { memory: number; cpu: number; pids: number };

/** What is known of a group when it is over; `outOfMemory` when the system killed in it for want of memory. */
export type GroupEnd = { usage: Usage; outOfMemory: boolean };

/** The control group of one attempt: nothing that its processes start can leave it. */
export type AttemptGroup = {
  /** Files that a process writes itself into to join. */
  procs: readonly string[];
  /** Kills all that is in it, and lets nothing more start. Does nothing after `close`. */
  kill(): void;
  /** Kills what is left, waits until it is gone, and gives the group up. */
  close(): Promise<GroupEnd>;
};

export type Cgroups = {
  /** Why processes have no limits here; absent where they have. */
  none?: string;
  open(limits: GroupLimits): AttemptGroup;
  /** Kills and removes the groups that a worker of the same name left behind; answers in how many something ran. */
  sweep(): Promise<number>;
  /** Removes the worker's own group. */
  remove(): void;
};

/** One version of control groups: where a worker's groups lie, and what their files are called. */
export type Hierarchy = {
  make(name: string, limits: GroupLimits): void;
  procs(name: string): string[];
  kill(name: string): void;
  isEmpty(name: string): boolean;
  read(name: string): GroupEnd;
  /**
   * Makes an ended group as if it were new, with the limits it has. False when there is anything in it, or when
   * something of what ran in it would be seen or counted in the next.
   */
  renew(name: string): boolean;
  /** Throws while there is a process in it. */
  removeGroup(name: string): void;
  names(): string[];
  removeAll(): void;
};

/** What the system says of its control groups: the text of `/proc/self/mounts` and of `/proc/self/cgroup`. */
export type CgroupPlaces = { mounts: string; own: string };
