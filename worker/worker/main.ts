import os from "node:os";
import { engineDeps } from "#lib/boot.ts";
import { listen, type Listener } from "#lib/db/listen.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { offersOf } from "#lib/domain/needs.ts";
import { createSettingsCheck, SETTINGS_EVERY_MS } from "#lib/engine/check-session-settings.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { announceRequest } from "#lib/engine/lead-admission.ts";
import { CALLBACKS } from "#lib/engine/dispatch-callbacks.ts";
import { FENCED } from "#lib/engine/fenced.ts";
import { HEARTBEAT_MS } from "#lib/engine/lease.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";
import { type Executors, typesOf } from "#lib/executors/registry.ts";
import type { Settings } from "#lib/env.ts";
import { createDutyMetrics, type DutyMetrics } from "#lib/obs/duty-metrics.ts";
import { createLostOutputCounter } from "#lib/obs/lost-output.ts";
import { createLogger } from "#lib/obs/log.ts";
import { boundedRound } from "#lib/obs/rounds.ts";
import { engineService } from "../engine-service.ts";
import { everyService } from "#lib/obs/every.ts";
import { createDuties, type Duties } from "#lib/obs/duties.ts";
import { healthService } from "../health.ts";
import type { Isolated } from "../isolation.ts";
import { anonymousName } from "../leftovers.ts";
import { createProtocolGuard, stopOnMismatch } from "../protocol-guard.ts";
import { commonRounds } from "../rounds.ts";
import { releaseVersion } from "../release.ts";
import { runProcess, type Service } from "../lifecycle.ts";
import { secretsOf } from "../secrets/file.ts";
import { openAttemptTools } from "./attempt-tools.ts";
import { makeCalls } from "./callbacks.ts";
import { createFinisher } from "./finisher.ts";
import { type Heart, startHeart } from "./heartbeat/heart.ts";
import { createLogWriter } from "./log-writer.ts";
import { tryStart } from "./trouble.ts";
import { createWorkerLoop, type WorkerLoop } from "./worker-loop.ts";

type RunningSettings = Settings & { databaseUrl: string; workerName: string; isAnonymous: boolean };

/**
 * How long running tasks may go on after SIGTERM. A supervisor kills after 5 s, and stopping a task that ignores
 * SIGTERM takes 2 s of them; elsewhere the platform usually gives more than half a minute.
 */
const GRACE_MS = { supervised: 2_500, alone: 30_000 };

/**
 * Beside that of the thread that renews leases and the one that hears of work: a hundred workers are
 * then four hundred sessions. Ends, claims and logs are batches, of which one of a kind is under way.
 */
const CONNECTIONS = 2;

const MIB = 1024 * 1024;

const DISK_EVERY_MS = 1_000;

/** A start costs some milliseconds. What fails is tried again after a second. */
const START_EVERY_MS = 10_000;

/** Repetitions are due at times that nobody announces. */
const CALLBACKS_EVERY_MS = 5_000;

/** The worker process: claims attempts of its queues, runs them, hands their ends in. Returns never. */
export async function runWorker(given: Settings & { databaseUrl: string }, executors: Executors): Promise<void> {
  // Without a name of its own a worker is a new one at each start, and its leases run out instead of moving over.
  const isAnonymous = given.workerName === undefined;
  const settings = { ...given, isAnonymous, workerName: given.workerName ?? anonymousName("worker", os.hostname()) };
  const log = createLogger({ level: settings.logLevel, component: "worker" });
  const build = async (): Promise<{ services: Service[] }> => {
    const deps = engineDeps(settings, { name: "worker", connections: CONNECTIONS }, log, announceRequest);
    const duties = createDuties();
    const metrics = createDutyMetrics(duties.report);
    const worker = workerService(settings, executors, deps, duties, createLostOutputCounter(metrics.registry));
    const heartbeat = everyService({
      name: "heartbeat",
      everyMs: HEARTBEAT_MS,
      duties,
      metrics,
      log,
      run: worker.heartbeat,
    });
    const settingsCheck = everyService({
      name: "session settings",
      everyMs: SETTINGS_EVERY_MS,
      duties,
      metrics,
      log,
      run: createSettingsCheck(deps),
    });
    const start = everyService({
      name: "task start",
      everyMs: START_EVERY_MS,
      isNeeded: true,
      duties,
      metrics,
      log,
      run: boundedRound(worker.tryStart),
    });
    const disk = everyService({
      name: "disk",
      everyMs: DISK_EVERY_MS,
      isNeeded: true,
      duties,
      metrics,
      log,
      run: boundedRound(worker.lookAtDisk),
    });
    const callbacks = callbackService(settings, deps, duties, metrics);
    worker.onCallbacks(callbacks.wake);
    return {
      services: [
        engineService(deps),
        // Before the worker, and so stopped after it: leases must still be renewed while it drains.
        heartbeat,
        worker,
        callbacks,
        settingsCheck,
        ...commonRounds(deps, { duties, metrics }, worker.heardMsAgo),
        ...(settings.processSlots > 0 ? [start, disk] : []),
        healthService({
          host: settings.host,
          port: settings.healthPort,
          duties,
          metrics,
          isolated: worker.isolated,
          log,
        }),
      ],
    };
  };
  await runProcess("worker", build, log);
}

type WorkerService = Service & {
  heartbeat(): Promise<void>;
  onCallbacks(wake: () => void): void;
  /** Milliseconds since the connection that hears of work last answered. */
  heardMsAgo(): number;
  /** Undefined before it takes tasks. */
  isolated(): Isolated | undefined;
  /** Starts a process as a task is started, if a slot is free for one: a full worker starts none anyway. */
  tryStart(): Promise<void>;
  /** Throws why no process should be started on this disk. */
  lookAtDisk(): Promise<void>;
};

function workerService(
  settings: RunningSettings,
  executors: Executors,
  deps: EngineDeps,
  duties: Duties,
  countLost: (bytes: number) => void,
): WorkerService {
  let wakeCallbacks = (): void => undefined;
  let tools: Awaited<ReturnType<typeof openAttemptTools>> | undefined;
  let running: { loop: WorkerLoop; heart: Heart; listener: Listener; done: Promise<void> } | undefined;
  return {
    name: "worker",
    heartbeat: async () => running?.loop.heartbeat(),
    isolated: () => tools?.isolated,
    onCallbacks: (wake) => {
      wakeCallbacks = wake;
    },
    heardMsAgo: () => running?.listener.age() ?? 0,
    async tryStart() {
      if (tools !== undefined && running?.loop.hasRoom("process") === true)
        await tryStart(tools.spawner, tools.workFolder);
    },
    async lookAtDisk() {
      const full = await tools?.diskTrouble(true);
      if (full !== undefined) throw new Error(full);
    },
    async start() {
      // A wrong file is told to whoever starts the worker, and not only to the first task that wants a secret.
      const secrets = await secretsOf(settings.secretsFile).get([]);
      if (!secrets.ok) deps.log.error({ error: secrets.error }, "tasks that use secrets will fail");
      const registeredAt = performance.now();
      const worker = await registerWorker(deps, await registration(settings, executors));
      tools ??= await openAttemptTools(settings, deps, executors);
      duties.register("claim", 10_000);
      const heart = startHeart({
        url: settings.databaseUrl,
        worker,
        registeredMsAgo: performance.now() - registeredAt,
        onDeath(error) {
          deps.log.fatal({ err: error }, "the thread that renews the leases has ended: this is a bug");
          process.exit(1);
        },
      });
      const unheard: string[] = [];
      const protocol = createProtocolGuard({ log: deps.log, onOver: stopOnMismatch });
      const slots = { process: settings.processSlots, function: settings.functionSlots, inline: settings.inlineSlots };
      const loop = createWorkerLoop({
        tools,
        worker,
        queues: settings.queues,
        slots,
        logs: createLogWriter(deps, {
          maxBytes: settings.logLimit * MIB,
          onLost: countLost,
        }),
        finisher: createFinisher(deps, {
          actor: `worker:${worker.id}`,
          slots: Math.max(...Object.values(slots)),
          unheard,
          protocol,
          onClaimable: (lanes) => loop.claimable(lanes),
        }),
        duties,
        unheard,
        heart,
        protocol,
        trouble: duties.trouble,
        onReplaced: () => {
          deps.log.error(
            { worker: worker.id },
            "another process has taken this worker's name, or its row was deleted; stopping",
          );
          process.kill(process.pid, "SIGTERM");
        },
      });
      const listener = listen({
        addresses: deps,
        hears: {
          sluice_tasks: (value) => {
            loop.wake(value);
            if (value === CALLBACKS) wakeCallbacks();
            if (value === FENCED) void loop.heartbeat().catch(() => undefined);
          },
        },
        onReconnect: () => loop.wake(),
        onError: (error) =>
          deps.log.warn({ error: messageOf(error) }, "lost the connection that hears of tasks; polling"),
      });
      running = { loop, heart, listener, done: loop.run() };
      deps.log.info({ worker: worker.id, queues: settings.queues }, "taking tasks");
    },
    async stop() {
      if (running) {
        const { loop, heart, listener, done } = running;
        await loop.drain(process.send === undefined ? GRACE_MS.alone : GRACE_MS.supervised);
        await done;
        await Promise.all([heart.stop(), listener.stop()]);
      }
      await tools?.stop();
    },
  };
}

/** Calls whoever is to be told of an end. What is under way when the worker stops is given up and made again. */
function callbackService(
  settings: RunningSettings,
  deps: EngineDeps,
  duties: Duties,
  metrics: DutyMetrics,
): Service & { wake(): void } {
  const stopping = new AbortController();
  const tools = { network: createAddressGuard(settings.httpAllow), secrets: secretsOf(settings.secretsFile) };
  const run = (): Promise<void> => makeCalls(deps, tools, stopping.signal);
  const service = everyService({ name: "callbacks", everyMs: CALLBACKS_EVERY_MS, duties, metrics, log: deps.log, run });
  return {
    ...service,
    async stop(reason) {
      stopping.abort();
      await service.stop(reason);
    },
  };
}

async function registration(
  settings: RunningSettings,
  executors: Executors,
): Promise<Parameters<typeof registerWorker>[1]> {
  return {
    id: settings.workerName,
    host: os.hostname(),
    pid: process.pid,
    version: await releaseVersion(),
    queues: settings.queues,
    processSlots: settings.processSlots,
    functionSlots: settings.functionSlots,
    inlineSlots: settings.inlineSlots,
    cpu: settings.cpu,
    memory: settings.memory,
    isAnonymous: settings.isAnonymous,
    offers: offersOf({ labels: settings.labels, types: typesOf(executors) }),
  };
}
