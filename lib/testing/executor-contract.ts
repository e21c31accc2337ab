import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { parseDefinition } from "#lib/domain/definition/parse.ts";
import { printedForms } from "./secret-encoders.ts";
import type { Attempts, Ran, WrittenTask } from "./attempts.ts";
import type { World } from "./executor-world.ts";

/**
 * What every executor keeps to, built in or a plugin's. One joins by giving its scenes: how it comes to succeed, to fail,
 * to hang and so on. The cases run them the way a worker does, with a worker's tools and a real database; what a type
 * cannot do says why.
 */

export type Scene = {
  task: WrittenTask;
  /** The code of its functions, by path. */
  code?: Record<string, string>;
};

/** Why there is nothing of the kind to see. */
type Cannot = { cannot: string };
type Made<T> = Cannot | ((world: World) => Scene & T);

type Hanging = {
  /** Resolves when it has begun, as what it logs or whom it calls tells. */
  begun(heard: Heard): Promise<unknown>;
  /** What is still there of it after its end. */
  left(log: string): Promise<unknown[]>;
};

export type Scenes = {
  /** Ends well and leaves this. */
  succeeds: (world: World) => Scene & { output: unknown };
  fails: Made<{ reason: string; error: RegExp }>;
  /** Goes on until it is ended. */
  hangs: Made<Hanging>;
  /** Goes on until it is told to end, and then ends well with an output. */
  shrugs: Made<object>;
  /** Leaves more than an output may have. */
  tooLarge: Made<object>;
  /** Is given the secrets `${{ secrets.TOKEN }}` and `${{ secrets.WAREHOUSE }}`, and tells the first in its log or output. */
  tells: Made<object>;
  /** The same, in how it fails. */
  tellsAsItFails: Made<object>;
  /** Logs this, one after the other. */
  logs: Made<{ lines: readonly (string | RegExp)[] }>;
  /** Hands the key of its attempt on; `key` finds it. */
  keyed: Made<{ key(ran: Ran): unknown }>;
  /** Tasks as YAML that are refused when their file is loaded, and what is said of them. */
  refused: readonly (readonly [yaml: string, message: RegExp])[];
};

/** What can be heard of an attempt while it runs. */
export type Heard = { world: World; logged(pattern: RegExp): Promise<RegExpExecArray> };

/** An attempt ends so soon after its signal, with two seconds for what must be killed. */
const GRACE_MS = 5_000;

export const TOKEN = "c4nary/tok+en=äö";

export function executorContract(name: string, attempts: Attempts, world: World, scenes: Scenes): void {
  const made = <T>(scene: Made<T>, title: string, act: (scene: Scene & T) => Promise<void>): void => {
    if (!("cannot" in scene)) test(title, async () => act(scene(world)));
  };

  const run = async (scene: Scene, more: Parameters<Attempts["run"]>[1] = {}): Promise<Ran> => {
    const ran = await attempts.run(scene.task, { ...(scene.code && { code: scene.code }), ...more });
    // What can be expected is a value: a throw of the executor ends as this.
    expect(ran.reason).not.toBe("EXECUTOR_ERROR");
    const folders = await readdir(attempts.workFolder);
    expect(await stillThere(folders, (folder) => existsSync(path.join(attempts.workFolder, folder)))).toEqual([]);
    return ran;
  };

  /** Runs a hanging scene until `stop` says so, and looks for what is left of it. */
  const hang = async (
    scene: Scene & Hanging,
    timeout: string,
    stop: (begun: Promise<unknown>, abort: () => void) => Promise<void>,
  ): Promise<{ ran: Ran; tookMs: number }> => {
    const stopping = new AbortController();
    const ears = createEars(world);
    let stoppedAt = 0;
    const abort = (): void => {
      stoppedAt = performance.now();
      stopping.abort(new Error("cancelled"));
    };
    const task = { ...scene.task, timeout };
    const ended = run({ ...scene, task }, { signal: stopping.signal, onLog: ears.onLog });
    await stop(scene.begun(ears.heard), abort);
    const ran = await ended;
    const tookMs = performance.now() - stoppedAt;
    expect(await scene.left(ran.log)).toEqual([]);
    return { ran, tookMs };
  };

  describe(`${name}: an executor`, () => {
    test("succeeds with its output, the next time as well, and a signal after its end is nothing to it", async () => {
      const scene = scenes.succeeds(world);
      const stopping = new AbortController();
      for (let n = 0; n < 2; n++) {
        const ran = await run(scene, { signal: stopping.signal });
        expect(ran).toMatchObject({ state: "success", error: null });
        expect(ran.output).toEqual(scene.output);
      }
      stopping.abort(new Error("too late"));
      expect(await run(scene)).toMatchObject({ state: "success" });
    });

    made(scenes.fails, "fails as a value, with a reason for programs and an error for people", async (scene) => {
      const ran = await run(scene);
      expect(ran).toMatchObject({ state: "failed", reason: scene.reason, output: undefined });
      expect(ran.reason).toMatch(/^[A-Z][A-Z_]+$/);
      expect(ran.error).toMatch(scene.error);
    });

    made(scenes.hangs, "ends within the grace when its signal aborts, and leaves nothing behind", async (scene) => {
      const { ran, tookMs } = await hang(scene, "1h", async (begun, abort) => {
        await begun;
        abort();
      });
      expect(ran.state).toBe("failed");
      expect(tookMs).toBeLessThan(GRACE_MS);
    });

    made(scenes.hangs, "ends as well when its signal has aborted before it began", async (scene) => {
      const ran = await run(scene, { signal: AbortSignal.abort(new Error("cancelled")) });
      expect(ran.state).toBe("failed");
      expect(await scene.left(ran.log)).toEqual([]);
    });

    made(scenes.hangs, "ends as TIMEOUT when its time is over, and leaves nothing behind", async (scene) => {
      const { ran } = await hang(scene, "1500ms", async () => undefined);
      expect(ran).toMatchObject({ state: "failed", reason: "TIMEOUT" });
      expect(ran.error).toContain("1s500ms");
    });

    made(scenes.shrugs, "ends as TIMEOUT also when it ends well once its time is over", async (scene) => {
      const task = { ...scene.task, timeout: "1500ms" };
      expect(await run({ ...scene, task })).toMatchObject({ state: "failed", reason: "TIMEOUT", output: undefined });
    });

    made(scenes.tooLarge, "fails when what it leaves is more than can be kept", async (scene) => {
      expect(await run(scene)).toMatchObject({ state: "failed", reason: "RESULT_TOO_LARGE", output: undefined });
    });

    const isMasked = async (scene: Scene, state: string): Promise<void> => {
      attempts.secrets.set("TOKEN", TOKEN).set("WAREHOUSE", world.databaseUrl);
      const ran = await run(scene);
      expect(ran).toMatchObject({ state });
      const kept = JSON.stringify(ran);
      expect(kept).toContain("***");
      for (const form of [TOKEN, world.databaseUrl].flatMap(printedForms)) expect(kept).not.toContain(form);
    };
    made(scenes.tells, "has its secrets masked in its log and its output", (scene) => isMasked(scene, "success"));
    made(scenes.tellsAsItFails, "has its secrets masked in its error", (scene) => isMasked(scene, "failed"));

    made(scenes.logs, "has its lines in its log, in order", async (scene) => {
      const { log } = await run(scene);
      const lines = log.trimEnd().split("\n");
      const wrong = lines.filter((line, n) => {
        const wanted = scene.lines[n];
        return typeof wanted === "string" ? line !== wanted : wanted?.test(line) !== true;
      });
      expect({ wrong, count: lines.length }).toEqual({ wrong: [], count: scene.lines.length });
    });

    made(scenes.keyed, "hands on the key of its attempt", async (scene) => {
      const ran = await run(scene);
      expect(scene.key(ran)).toBe(ran.attemptId);
    });

    test.each(scenes.refused)("is told of %s when the file is loaded", (yaml, message) => {
      const parsed = parseDefinition(`id: a\ntasks:\n  - id: t\n    ${yaml}\n`, "a.yaml", attempts.plugins);
      expect(parsed.ok).toBe(false);
      const problems = parsed.ok ? [] : parsed.problems;
      expect(problems.map((problem) => `${problem.line}: ${problem.message}`)).toContainEqual(
        expect.stringMatching(message),
      );
      expect(problems[0]!.line).toBeGreaterThanOrEqual(3);
    });
  });
}

function createEars(world: World): { heard: Heard; onLog(log: string): void } {
  let sofar = "";
  const listeners = new Set<() => void>();
  return {
    onLog(log) {
      sofar = log;
      for (const listen of listeners) listen();
    },
    heard: {
      world,
      logged: (pattern) =>
        new Promise((resolve) => {
          const listen = (): void => {
            const match = pattern.exec(sofar);
            if (match === null) return;
            listeners.delete(listen);
            resolve(match);
          };
          listeners.add(listen);
          listen();
        }),
    },
  };
}

/** What of `things` is still there after some time; the system tells nobody of their end, so this one looks. */
export async function stillThere<T>(
  things: readonly T[],
  isThere: (thing: T) => boolean | Promise<boolean>,
): Promise<T[]> {
  const end = performance.now() + GRACE_MS;
  for (;;) {
    const left: T[] = [];
    for (const thing of things) if (await isThere(thing)) left.push(thing);
    if (left.length === 0 || performance.now() > end) return left;
    await delay(20);
  }
}
