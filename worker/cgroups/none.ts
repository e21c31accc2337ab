import type { AttemptGroup, Cgroups } from "./groups.ts";

const NO_GROUP: AttemptGroup = {
  procs: [],
  kill: () => undefined,
  close: () => Promise.resolve({ usage: {}, outOfMemory: false }),
};

/**
 * Where no control group can be written. `ulimit` is no stand-in: its limit of memory is one of addresses, of which
 * Node, Go and Java reserve a hundred times what they use, and its limit of processes counts all of a user.
 */
export const NO_GROUPS: Cgroups = {
  open: () => NO_GROUP,
  sweep: () => Promise.resolve(0),
  remove: () => undefined,
};
