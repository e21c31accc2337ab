import { setTimeout as delay } from "node:timers/promises";
import { afterEach } from "vitest";
import type { WorkerRef } from "#lib/db/claims.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { LEASE_MS } from "#lib/engine/lease.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import type { CallResult, FunctionCall } from "#lib/executors/executor.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";
import { executorsWith } from "#lib/executors/registry.ts";
import { createDuties } from "#lib/obs/duties.ts";
import type { ProtocolGuard } from "#worker/protocol-guard.ts";
import { NO_SECRETS } from "#worker/secrets/provider.ts";
import { createFinisher } from "#worker/worker/finisher.ts";
import { type Heart, startHeart } from "#worker/worker/heartbeat/heart.ts";
import { createInputs } from "#worker/worker/inputs.ts";
import { createLogWriter } from "#worker/worker/log-writer.ts";
import type { AttemptTools } from "#worker/worker/run-attempt.ts";
import { createWorkerLoop, type WorkerLoop } from "#worker/worker/worker-loop.ts";
import type { TestDatabase } from "./database.ts";
import { registration, runState } from "./engine.ts";
import { FITTING } from "./protocol.ts";

export type Call = (
  call: FunctionCall,
  signal: AbortSignal,
  write: (stream: "stdout", bytes: Buffer) => void,
) => Promise<CallResult>;

export type WorkOptions = {
  functionSlots?: number;
  registeredMsAgo?: number;
  hasMovingClock?: boolean;
  protocol?: ProtocolGuard;
  claimAnywayMs?: number;
  trouble?: () => string | undefined;
  processSlots?: number;
  /** In the place of those that run nothing. */
  tools?: Partial<AttemptTools>;
  /** In the place of the database's. */
  deps?: EngineDeps;
};

export type WorkerLoops = {
  loops: WorkerLoop[];
  /** Starts a worker's loop on a real database; only the functions' processes are replaced by `call`. */
  work(name: string, call: Call, options?: WorkOptions): Promise<WorkerLoop>;
  /** Asks and asks, waking the workers as a NOTIFY would, until the database says so. */
  until(isSo: () => Promise<boolean>): Promise<void>;
  /** The same without waking them. */
  untilBySelf(isSo: () => Promise<boolean>): Promise<void>;
  ended(runId: string): () => Promise<boolean>;
  /** A DAG of functions, `t0` and the others, which wait for it. */
  publish(id: string, count: number, options?: object): Promise<void>;
};

const ASK_AGAIN_MS = 5;

/** Workers' loops for the tests of one file; they are drained after each. */
export function workerLoops(database: TestDatabase): WorkerLoops {
  const loops: WorkerLoop[] = [];
  const hearts: Heart[] = [];

  afterEach(async () => {
    await Promise.all(loops.splice(0).map((loop) => loop.drain(0)));
    await Promise.all(hearts.splice(0).map((heart) => heart.stop()));
  });

  const untilBySelf = async (isSo: () => Promise<boolean>, before = (): void => undefined): Promise<void> => {
    while (!(await isSo())) {
      before();
      await delay(ASK_AGAIN_MS);
    }
  };

  return {
    loops,
    async work(name, call, options = {}) {
      const { functionSlots = 2, registeredMsAgo = 0, hasMovingClock = false, protocol = FITTING } = options;
      const { deps = database.deps, claimAnywayMs, trouble, processSlots = 0, tools } = options;
      const worker = await registerWorker(deps, {
        ...registration(name, 0),
        processSlots,
        functionSlots,
        cpu: 0,
        memory: 0,
      });
      await deps.pool.query("update sluice.worker set lease_until = lease_until - $2 * interval '1 ms' where id = $1", [
        name,
        registeredMsAgo,
      ]);
      const heart = hasMovingClock
        ? heartOnPool(deps, worker)
        : startHeart({ url: database.url, worker, registeredMsAgo, onDeath: () => undefined });
      hearts.push(heart);
      const unheard: string[] = [];
      const loop = createWorkerLoop({
        tools: {
          deps,
          executors: executorsWith([]),
          inputs: createInputs(deps),
          bundles: { textOf: () => Promise.reject(new Error("there is no file")) },
          functions: { call, stop: async () => undefined },
          spawner: {
            run: () => Promise.reject(new Error("no process")),
            stop: async () => undefined,
          },
          containers: { run: () => Promise.reject(new Error("no container")), sweep: async () => undefined },
          workFolder: "/nowhere",
          network: createAddressGuard([]),
          secrets: NO_SECRETS,
          diskTrouble: async () => undefined,
          ...tools,
        },
        worker,
        heart,
        protocol,
        queues: ["default"],
        slots: { process: processSlots, function: functionSlots, inline: 0 },
        logs: createLogWriter(deps, { maxBytes: 1024 * 1024 }),
        finisher: createFinisher(deps, {
          actor: `worker:${name}`,
          slots: functionSlots,
          unheard,
          protocol,
          onClaimable: (lanes) => loop.claimable(lanes),
        }),
        duties: createDuties(),
        unheard,
        onReplaced: () => undefined,
        ...(claimAnywayMs === undefined ? {} : { claimAnywayMs }),
        ...(trouble === undefined ? {} : { trouble }),
      });
      loops.push(loop);
      void loop.run();
      return loop;
    },
    until: (isSo) =>
      untilBySelf(isSo, () => {
        for (const loop of loops) loop.wake();
      }),
    untilBySelf: (isSo) => untilBySelf(isSo),
    ended: (runId) => async () => (await runState(database.deps, runId)) !== "running",
    async publish(id, count, options = {}) {
      const tasks = Array.from({ length: count }, (_, n) => ({
        id: `t${n}`,
        type: "fn",
        config: { module: "m.ts", export: `f${n}` },
        dependsOn: n === 0 ? [] : ["t0"],
        ...options,
      }));
      const spec = DagSpec.parse({ id, bundle: "a".repeat(64), tasks });
      await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
    },
  };
}

/** A clock is moved for the connections of the test's pool alone, and the heart's thread has one of its own. */
function heartOnPool({ pool }: EngineDeps, ref: WorkerRef): Heart {
  return {
    beat: (attempts) => renewLeases(pool, ref, attempts, LEASE_MS),
    know: () => undefined,
    age: () => 0,
    stop: async () => undefined,
  };
}
