import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { plainEnv } from "#lib/env.ts";
import { whenSignalled } from "../stopping.ts";

/** What an engine is asked for; the figures that it returns are described in `bench/peers/serve.mjs`. */
export type Order =
  | { measure: "chain" | "fibo"; steps: number }
  | { measure: "fan"; width: number }
  | { measure: "start"; count: number; pauseMs: number }
  | { measure: "many"; runs: number; steps: number };

/** One of those that are measured in turn: the others stand still meanwhile. */
export type Engine = {
  name: string;
  run(order: Order): Promise<number[]>;
  stand(): void;
  go(): void;
  stop(): Promise<void>;
};

type Reply = { ready?: true; figures?: number[]; error?: string };

/** A peer's program, which is given the address of its store. */
export async function startPeer(name: string, program: string, address: string): Promise<Engine> {
  const child = fork(fileURLToPath(new URL(`../peers/${program}`, import.meta.url)), [address], {
    env: plainEnv(),
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  };
  const forget = whenSignalled(stop);
  const ended = once(child, "exit").then(([code]): Reply => ({ error: `it ended with code ${String(code)}` }));
  const reply = async (): Promise<Reply> => {
    const said = once(child, "message").then(([message]) => message as Reply);
    const one = await Promise.race([said, ended]);
    if (one.error !== undefined) throw new Error(`${name}: ${one.error}`);
    return one;
  };
  await reply();
  return {
    name,
    async run(order) {
      const answer = reply();
      child.send(order);
      return (await answer).figures ?? [];
    },
    stand: () => child.kill("SIGSTOP"),
    go: () => child.kill("SIGCONT"),
    async stop() {
      await stop();
      forget();
    },
  };
}
