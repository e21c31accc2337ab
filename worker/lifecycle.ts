import { flushCompileCache } from "node:module";
import { setFlagsFromString } from "node:v8";
import type { Logger } from "pino";
import { createLogger } from "#lib/obs/log.ts";
import { isDatabaseUnreachable } from "#lib/db/database-errors.ts";
import { ProtocolError } from "#lib/db/protocol.ts";
import { MISMATCH_EXIT_CODE } from "./protocol-guard.ts";

export type StopReason = "signal" | "disconnect" | "failed";

/** A long-lived part of a process. `start` is called again when the database was not there. */
export type Service = { name: string; start(): Promise<void>; stop(reason: StopReason): Promise<void> };

/** Of garbage as much as of what lives; by default V8 lets four times as much be where the machine has memory. */
const HEAP_GROWTH = "--heap-growing-percent=100";

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;

/** Calls `stop` when the supervisor that forked this process is gone; without one it does nothing. */
export function stopOnDisconnect(stop: () => void): void {
  if (process.send === undefined) return;
  if (process.connected) process.once("disconnect", stop);
  else stop();
}

/** Tells the supervisor, if there is one, that this process does its work now. */
export function sayReady(): void {
  // A process that is killed has not kept for its next start what it compiled, unless it does so here.
  flushCompileCache();
  if (process.connected) process.send?.({ type: "ready" }, undefined, undefined, () => undefined);
}

/**
 * The life of a process: start the services in order, run until told to stop, stop them in reverse, exit.
 * A database that is not there is waited for; it never ends the process.
 */
export async function runProcess(
  name: string,
  build: () => Promise<{ services: readonly Service[] }>,
  log: Logger = createLogger({ level: "info", component: name }),
): Promise<void> {
  const stopping = listenForStop();
  endOnBug(log);
  setFlagsFromString(HEAP_GROWTH);
  const started: Service[] = [];
  try {
    const built = await untilReachable(log, name, stopping.signal, build);
    for (const service of built?.services ?? []) {
      // Before the start and not after: a start that failed half-way has something to stop too.
      started.push(service);
      await untilReachable(log, service.name, stopping.signal, () => service.start());
    }
  } catch (error) {
    log.fatal({ err: error }, "could not start");
    await stopAll(log, started, "failed");
    process.exit(error instanceof ProtocolError ? MISMATCH_EXIT_CODE : 1);
  }
  if (!stopping.signal.aborted) {
    sayReady();
    log.info("started");
  }
  const reason = await stopping.reason;
  log.info({ reason }, "stopping");
  await stopAll(log, started, reason);
  log.info("stopped");
  process.exit();
}

function listenForStop(): { signal: AbortSignal; reason: Promise<StopReason> } {
  const controller = new AbortController();
  const { promise, resolve } = Promise.withResolvers<StopReason>();
  const stop = (reason: StopReason) => {
    controller.abort();
    resolve(reason);
  };
  // `on`, not `once`: a second signal must find a listener, else Node ends the process in the middle of its stop.
  process.on("SIGTERM", () => stop("signal"));
  process.on("SIGINT", () => stop("signal"));
  stopOnDisconnect(() => stop("disconnect"));
  // The reader of our output may be gone while we still stop.
  process.stdout.on("error", () => undefined);
  process.stderr.on("error", () => undefined);
  return { signal: controller.signal, reason: promise };
}

function endOnBug(log: Logger): void {
  const end = (error: unknown) => {
    // A connection that breaks between two statements of a transaction reports it as an event that nobody awaits;
    // the next statement fails too, and whoever sent it deals with that.
    if (isDatabaseUnreachable(error)) return log.error({ err: error }, "a connection broke");
    log.fatal({ err: error }, "unexpected error: this is a bug");
    process.exit(1);
  };
  process.on("unhandledRejection", end);
  process.on("uncaughtException", end);
}

async function untilReachable<T>(
  log: Logger,
  what: string,
  signal: AbortSignal,
  act: () => Promise<T>,
): Promise<T | undefined> {
  let waitMs = FIRST_RETRY_MS;
  while (!signal.aborted) {
    try {
      return await act();
    } catch (error) {
      if (!isDatabaseUnreachable(error)) throw error;
      log.warn(
        { service: what, retryInMs: waitMs, reason: textOf(error) },
        "the database is not reachable; trying again",
      );
    }
    await pause(waitMs, signal);
    waitMs = Math.min(2 * waitMs, MAX_RETRY_MS);
  }
  return undefined;
}

function textOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error ? first.message : String(first);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

async function stopAll(log: Logger, services: readonly Service[], reason: StopReason): Promise<void> {
  for (const service of services.toReversed()) {
    try {
      await service.stop(reason);
    } catch (error) {
      log.error({ err: error, service: service.name }, "did not stop cleanly");
    }
  }
}
