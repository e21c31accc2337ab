import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "#lib/domain/log.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { ResourceAmount } from "#lib/domain/model/resources.ts";
import type { ContainerRequest, Exit } from "../executor.ts";
import { answered, type OnOutput, PATIENCE, type Patience } from "./container.ts";
import { type Engine, noEngine, openEngine } from "./engine.ts";
import { ensureImage } from "./image.ts";
import { createMountGuard } from "./mounts.ts";
import { runContainer } from "./run-container.ts";
import { ContainerTrouble, statusOf, troubleOf } from "./trouble.ts";

export type Containers = {
  /**
   * Runs a container to its end and removes it; an abort of `signal` stops, then kills it. What it asks for in `limits`
   * is all that it gets. Never throws: what goes wrong is in the exit.
   */
  run(request: ContainerRequest, signal: AbortSignal, onOutput: OnOutput, limits?: ResourceAmount): Promise<Exit>;
  /** Removes what a killed process of the same labels left. Without an engine that answers, the first `run` does. */
  sweep(): Promise<void>;
};

export type ContainerSettings = {
  /** Where the engine is; undefined means the usual socket, if it is there. */
  dockerHost: string | undefined;
  /** Folders that may be mounted. */
  dockerMounts: readonly string[];
  /** Processes and threads that one container may have. */
  taskPids: number;
};

type Options = ContainerSettings & {
  /** By these the containers of this process are known to the next one. */
  labels: Record<string, string>;
  log: Pick<Log, "warn">;
  patience?: Patience;
};

const NOTHING_ASKED: ResourceAmount = { cpu: 0, memory: 0 };

/** Runs containers on the engine of the settings, which is first looked for when it is needed. */
export function createContainers(options: Options): Containers {
  const { labels, log, taskPids: maxPids, patience = PATIENCE } = options;
  const guard = createMountGuard(options.dockerMounts);
  /** Names of containers that could not be removed. */
  const left = new Set<string>();
  let opened: Promise<Engine | undefined> | undefined;
  let swept: Promise<void> | undefined;

  const engineIfAny = async (): Promise<Engine | undefined> => {
    opened ??= openEngine(options.dockerHost);
    const engine = await opened;
    // It may be installed, and started, later than this process.
    if (engine === undefined) opened = undefined;
    return engine;
  };

  const sweepOnce = (engine: Engine): Promise<void> => {
    swept ??= sweepOf(engine, labels, log).catch((error: unknown) => {
      swept = undefined;
      throw troubleOf(error, "remove what an earlier worker left", engine.address);
    });
    return swept;
  };

  const remove = async (engine: Engine, name: string): Promise<void> => {
    left.add(name);
    for (const pauseMs of [...patience.removePausesMs, undefined]) {
      const trouble = await removeNow(engine, name);
      if (trouble === undefined) return void left.delete(name);
      if (pauseMs === undefined) log.warn({ container: name, error: trouble }, "a container could not be removed");
      else await delay(pauseMs);
    }
  };

  const removeLeft = async (engine: Engine): Promise<void> => {
    for (const name of left) if ((await removeNow(engine, name)) === undefined) left.delete(name);
  };

  return {
    async run(request, signal, onOutput, limits = NOTHING_ASKED) {
      try {
        const engine = await engineIfAny();
        if (engine === undefined) throw noEngine();
        const mounts = await guard(request.mounts, engine.isHere);
        await sweepOnce(engine);
        await removeLeft(engine);
        await ensureImage(engine, request, signal, (tookMs) => {
          const text = `fetched the image ${request.image} in ${Math.round(tookMs)} ms\n`;
          void onOutput("system", Buffer.from(text));
        });
        return await runContainer({
          engine,
          request,
          own: { mounts, limits, maxPids, labels },
          signal,
          onOutput,
          patience,
          remove: () => remove(engine, request.name),
        });
      } catch (error) {
        const reason = error instanceof ContainerTrouble ? error.reason : undefined;
        return { code: null, signal: null, error: messageOf(error), reason };
      }
    },
    async sweep() {
      try {
        const engine = await engineIfAny();
        if (engine !== undefined) await sweepOnce(engine);
      } catch (error) {
        log.warn({ error: messageOf(error) }, "containers that an earlier worker may have left were not looked for");
      }
    },
  };
}

async function sweepOf(engine: Engine, labels: Record<string, string>, log: Pick<Log, "warn">): Promise<void> {
  const label = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  const found = await answered(engine.docker.listContainers({ all: true, filters: { label } }));
  const troubles = await Promise.all(found.map(({ Id: id }) => removeNow(engine, id)));
  if (found.length > 0)
    log.warn({ containers: found.length }, "removed containers that an earlier worker of this name had left");
  const trouble = troubles.find((one) => one !== undefined);
  if (trouble !== undefined)
    throw new ContainerTrouble("DOCKER_ERROR", `an earlier worker's container is left: ${trouble}`);
}

/** Kills and removes; answers why that could not be done. One that is gone, or going, is removed. */
async function removeNow({ docker }: Engine, name: string): Promise<string | undefined> {
  try {
    await answered(docker.getContainer(name).remove({ force: true, v: true }));
    return undefined;
  } catch (error) {
    const status = statusOf(error);
    const isGoing = status === 409 && /already in progress/.test(messageOf(error));
    return status === 404 || isGoing ? undefined : messageOf(error);
  }
}
