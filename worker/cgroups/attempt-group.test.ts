import { beforeEach, describe, expect, test } from "vitest";
import { createGroups } from "./attempt-group.ts";
import type { Cgroups, GroupEnd, Hierarchy } from "./groups.ts";

const LIMITS = { memory: 64, cpu: 0, pids: 10 };
const OTHER = { ...LIMITS, memory: 65 };
const CLEAN: GroupEnd = { usage: {}, outOfMemory: false };

describe("a group", () => {
  let there: Set<string>;
  let full: Set<string>;
  let killed: string[];
  let end: GroupEnd;
  let isClean: boolean;
  let groups: Cgroups;

  beforeEach(() => {
    [there, full, killed, end, isClean] = [new Set(), new Set(), [], CLEAN, true];
    const hierarchy: Hierarchy = {
      make: (name) => void there.add(name),
      procs: (name) => [name],
      kill(name) {
        killed.push(name);
        full.delete(name);
      },
      isEmpty: (name) => !full.has(name),
      read: () => end,
      renew: (name) => isClean && !full.has(name),
      removeGroup(name) {
        if (full.has(name)) throw new Error("EBUSY");
        there.delete(name);
      },
      names: () => [...there],
      removeAll: () => undefined,
    };
    groups = createGroups(hierarchy);
  });

  const used = async (limits = LIMITS, before: (name: string, kill: () => void) => void = () => undefined) => {
    const group = groups.open(limits);
    const [name] = group.procs;
    before(name!, group.kill);
    await group.close();
    return name!;
  };

  test("is used again for the same limits, and by one attempt at a time", async () => {
    const first = await used();
    expect(await used()).toBe(first);
    const [a, b] = [groups.open(LIMITS), groups.open(LIMITS)];
    expect(a.procs).toEqual([first]);
    expect(b.procs).not.toEqual([first]);
    expect(groups.open(OTHER).procs).not.toEqual([first]);
  });

  test("is not used again when something was left in it, was killed in it, or cannot be forgotten", async () => {
    const strays = await used(LIMITS, (name) => full.add(name));
    const stopped = await used(LIMITS, (name, kill) => {
      full.add(name);
      kill();
    });
    end = { usage: {}, outOfMemory: true };
    const starved = await used();
    [end, isClean] = [CLEAN, false];
    const marked = await used();
    expect(killed).toEqual([strays, stopped]);
    expect(there).toEqual(new Set());
    isClean = true;
    expect([strays, stopped, starved, marked]).not.toContain(await used());
  });

  test("that has been given up is not killed by who had it: it may be another's", async () => {
    const before = groups.open(LIMITS);
    await before.close();
    const [name] = groups.open(LIMITS).procs;
    expect(before.procs).toEqual([name]);
    full.add(name!);
    before.kill();
    expect(killed).toEqual([]);
  });

  test("that waits for an attempt is nobody's leftover, and goes with the worker", async () => {
    await used();
    there.add("of-an-earlier-worker");
    full.add("of-an-earlier-worker");
    expect(await groups.sweep()).toBe(1);
    expect(there.size).toBe(1);
    groups.remove();
    expect(there.size).toBe(0);
  });
});
