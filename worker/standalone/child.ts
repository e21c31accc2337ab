import { type ChildProcess, fork } from "node:child_process";
import { createInterface } from "node:readline";
import type { ProcessEnvironment } from "#lib/env.ts";
import { type Ends, oneMoreEnd, restartLine } from "./backoff.ts";
import type { ChildRecords } from "./leftovers.ts";
import { StartupError } from "./startup-error.ts";

export type ChildSpec = {
  name: string;
  modulePath: string;
  args: readonly string[];
  env: ProcessEnvironment;
  execArgv?: readonly string[];
};

export type ChildHooks = {
  /** A line of the child's own output. */
  onLine(name: string, line: string): void;
  /** What the supervisor has to say about its children. */
  say(line: string): void;
  records: ChildRecords;
};

export type SupervisedChild = {
  name: string;
  /** Resolves when the child said that it is ready; rejects when its first start fails. */
  ready: Promise<void>;
  pid(): number | undefined;
  /** SIGTERM, and SIGKILL after `graceMs`. */
  stop(graceMs: number): Promise<void>;
};

const FIRST_READY_TIMEOUT_MS = 60_000;

/** Runs a child until `stop`: its output is handed on line by line, and when it ends it is started again. */
export function superviseChild(spec: ChildSpec, hooks: ChildHooks): SupervisedChild {
  const firstReady = Promise.withResolvers<void>();
  // Several children start at once; the failure of one that is not awaited yet must not count as unhandled.
  firstReady.promise.catch(() => undefined);
  let wasReady = false;
  let stopping = false;
  let current: { process: ChildProcess; exited: Promise<void> } | undefined;
  let ends: Ends | undefined;
  let restartTimer: NodeJS.Timeout | undefined;

  const readyTimer = setTimeout(
    () => firstReady.reject(new StartupError(`${spec.name} was not ready after ${FIRST_READY_TIMEOUT_MS / 1000} s`)),
    FIRST_READY_TIMEOUT_MS,
  );

  function start(): void {
    const startedAtMs = performance.now();
    const child = forkChild(spec, hooks);
    const exited = Promise.withResolvers<void>();
    current = { process: child, exited: exited.promise };
    const recorded = child.pid === undefined ? Promise.resolve() : hooks.records.add(spec.name, child.pid);
    child.on("message", onMessage);
    const onEnd = (how: string) => {
      current = undefined;
      void recorded
        .then(() => (current === undefined ? hooks.records.remove(spec.name) : undefined))
        .finally(exited.resolve);
      afterEnd(how, performance.now() - startedAtMs);
    };
    child.once("exit", (code, signal) => onEnd(signal ?? `exit code ${code}`));
    child.once("error", (error) => {
      // Without a pid nothing was started, so no exit follows.
      if (child.pid === undefined) onEnd(error.message);
    });
  }

  function onMessage(message: unknown): void {
    if (typeof message !== "object" || message === null || !("type" in message) || message.type !== "ready") return;
    wasReady = true;
    clearTimeout(readyTimer);
    firstReady.resolve();
  }

  function afterEnd(how: string, livedMs: number): void {
    if (stopping) return;
    if (!wasReady) {
      clearTimeout(readyTimer);
      firstReady.reject(new StartupError(`${spec.name} could not start (${how})`));
      return;
    }
    ends = oneMoreEnd(ends, livedMs);
    hooks.say(restartLine(spec.name, how, ends));
    restartTimer = setTimeout(start, ends.waitMs);
  }

  start();
  return {
    name: spec.name,
    ready: firstReady.promise,
    pid: () => current?.process.pid,
    stop: async (graceMs) => {
      stopping = true;
      clearTimeout(restartTimer);
      clearTimeout(readyTimer);
      if (current === undefined) return;
      const { process: child, exited } = current;
      child.kill("SIGTERM");
      const kill = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await exited;
      clearTimeout(kill);
    },
  };
}

function forkChild(spec: ChildSpec, hooks: ChildHooks): ChildProcess {
  const child = fork(spec.modulePath, spec.args, {
    env: spec.env,
    execArgv: [...process.execArgv, ...(spec.execArgv ?? [])],
    // A process group of its own: Ctrl-C in the terminal reaches only us, and we stop the children in order.
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  for (const input of [child.stdout, child.stderr]) {
    if (input !== null) createInterface({ input }).on("line", (line) => hooks.onLine(spec.name, line));
  }
  return child;
}
