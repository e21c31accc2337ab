import { setTimeout as delay } from "node:timers/promises";
import type Docker from "dockerode";
import type { ResourceAmount } from "#lib/domain/model/resources.ts";
import type { ContainerRequest, Exit } from "../executor.ts";
import {
  attachOutput,
  type Ended,
  type OnOutput,
  type Patience,
  putFiles,
  readOutputs,
  settled,
  untilEnded,
} from "./container.ts";
import { createOptions, memoryLimit } from "./create-options.ts";
import type { Engine } from "./engine.ts";
import type { Mount } from "./mounts.ts";
import { ContainerTrouble, statusOf, troubleOf, wordsOf } from "./trouble.ts";

/** From the image's stop signal to SIGKILL when an attempt is stopped; what processes get. */
const STOP_GRACE_S = 2;
/** A container ends right after its output; one that does not goes on unheard. */
const SILENCE_MS = 3_000;
const SILENCE =
  "[the output ends here and the container goes on: it was closed, or the connection to the engine broke]\n";

type Run = {
  engine: Engine;
  request: ContainerRequest;
  own: { mounts: readonly Mount[]; limits: ResourceAmount; maxPids: number; labels: Record<string, string> };
  signal: AbortSignal;
  onOutput: OnOutput;
  patience: Patience;
  /** Removes the container, or what there is of it. */
  remove(): Promise<void>;
};

/** A container from its making to its removal, which comes last however it went. Throws `ContainerTrouble`. */
export async function runContainer(run: Run): Promise<Exit> {
  const { engine, request, own, signal } = run;
  refuseIfAborted(signal);
  const patience = patienceAfter(signal, run.patience.giveUpMs);
  const created = engine.docker.createContainer(createOptions(request, own));
  try {
    const asked = withTroubles(engine, patience.givenUp);
    const made = created.catch((error: unknown) => {
      throw notMade(error, request, engine.address);
    });
    await asked("create the container", made);
    return await startAndFollow(run, asked, patience.signal);
  } finally {
    // An engine that is still making it would have it after it was removed.
    const isSettled = await Promise.race([settled(created), patience.givenUp.catch(() => false)]);
    if (!isSettled) void settled(created).then(run.remove);
    await run.remove();
    patience.end();
  }
}

async function startAndFollow(run: Run, asked: Ask, givenUp: AbortSignal): Promise<Exit> {
  const { engine, request, own, signal } = run;
  const container = engine.docker.getContainer(request.name);
  refuseIfAborted(signal);
  await asked("copy files into the container", putFiles(container, request));
  refuseIfAborted(signal);
  const starting = <T>(call: Promise<T>): Promise<T> => {
    const begun = call.catch((error: unknown) => {
      throw notStarted(error, request, engine.address);
    });
    return asked("start the container", begun);
  };
  // Some engines already look for the program here.
  const output = await starting(attachOutput(container));
  try {
    const copied = output.copy(run.onOutput);
    // Told where it is waited for.
    copied.catch(() => undefined);
    refuseIfAborted(signal);
    await starting(container.start());
    const ended = await asked("follow the container", follow(container, copied, run, givenUp));
    await asked("send the output", copied);
    const outputs = ended.code === 0 ? await asked("give out files", readOutputs(container, request)) : undefined;
    const oom = ended.isOutOfMemory ? { outOfMemory: memoryLimit(own.limits) } : {};
    return { code: ended.code, signal: null, outputs, ...oom };
  } finally {
    output.close();
  }
}

/** Until the container has ended, which an abort of the attempt asks for. */
async function follow(
  container: Docker.Container,
  copied: Promise<void>,
  { signal, onOutput, patience }: Run,
  givenUp: AbortSignal,
): Promise<Ended> {
  const over = new AbortController();
  const { promise: stopped, resolve } = Promise.withResolvers<unknown>();
  // An engine that cannot stop it is found out by who waits for the end.
  const stop = (): void => resolve(settled(container.stop({ t: STOP_GRACE_S })));
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  void settled(copied)
    .then(() => delay(SILENCE_MS, undefined, { signal: over.signal }))
    .then(
      () => onOutput("system", Buffer.from(SILENCE)),
      () => undefined,
    );
  const unreadable = copied.then(() => new Promise<never>(() => undefined));
  try {
    const ended = untilEnded(container, givenUp, [stopped, settled(copied)], patience.awayMs);
    return await Promise.race([ended, unreadable]);
  } finally {
    over.abort();
    signal.removeEventListener("abort", stop);
  }
}

function refuseIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new ContainerTrouble("CANCELLED", "the task was stopped before its container ran");
}

/** A promise that rejects, and a signal that aborts, so long after `signal` has. */
function patienceAfter(signal: AbortSignal, ms: number): { givenUp: Promise<never>; signal: AbortSignal; end(): void } {
  const over = new AbortController();
  const ended = new AbortController();
  const { promise: givenUp, reject } = Promise.withResolvers<never>();
  givenUp.catch(() => undefined);
  const begin = (): void => {
    void delay(ms, undefined, { signal: ended.signal }).then(
      () => {
        over.abort();
        reject(
          new ContainerTrouble("CANCELLED", "the container engine did not come to an end after the task was stopped"),
        );
      },
      () => undefined,
    );
  };
  if (signal.aborted) begin();
  else signal.addEventListener("abort", begin, { once: true });
  return {
    givenUp,
    signal: over.signal,
    end() {
      signal.removeEventListener("abort", begin);
      ended.abort();
      over.abort();
    },
  };
}

type Ask = <T>(what: string, call: Promise<T>) => Promise<T>;

/** Waits for an answer of the engine, as long as there is patience; an error becomes the trouble that it is. */
function withTroubles({ address }: Engine, givenUp: Promise<never>): Ask {
  return async (what, call) => {
    try {
      return await Promise.race([call, givenUp]);
    } catch (error) {
      throw troubleOf(error, what, address);
    }
  };
}

/** The image may have been removed since it was looked for. */
function notMade(error: unknown, { image }: ContainerRequest, address: string): ContainerTrouble {
  if (statusOf(error) === 404 && /no such image/i.test(wordsOf(error)))
    return new ContainerTrouble("IMAGE_MISSING", `the container engine has lost the image ${image}`);
  return troubleOf(error, "create the container", address);
}

/** A start that the engine refused, by what was to be started. */
function notStarted(error: unknown, { image }: ContainerRequest, address: string): ContainerTrouble {
  const trouble = troubleOf(error, "start the container", address);
  if (trouble.reason !== "DOCKER_ERROR") return trouble;
  const words = wordsOf(error);
  const [, program] = /exec: "([^"]+)": (?:executable file|stat|no such file)/.exec(words) ?? [];
  return program === undefined
    ? new ContainerTrouble("SPAWN_ERROR", `the container could not be started: ${words}`)
    : new ContainerTrouble("SPAWN_ERROR", `the image ${image} has no program ${program}: ${words}`);
}
