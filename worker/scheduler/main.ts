import { randomUUID } from "node:crypto";
import os from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import type { Log } from "#lib/domain/log.ts";
import { engineDeps } from "#lib/boot.ts";
import { deleteForgottenFailures } from "#lib/db/sign-in-failures.ts";
import { sampleSizes } from "#lib/db/table-sizes.ts";
import { ping } from "#lib/db/pool.ts";
import { requireHistoryRights } from "#lib/db/history-rights.ts";
import { deleteOldWaitSpans } from "#lib/db/waits.ts";
import { deleteExpiredXcoms } from "#lib/db/xcoms.ts";
import { tendBackfills } from "#lib/engine/backfill/tend.ts";
import { createUnneededRows } from "#lib/engine/delete-unneeded.ts";
import { carryOutActions } from "#lib/engine/carry-out-actions.ts";
import { createSettingsCheck, SETTINGS_EVERY_MS } from "#lib/engine/check-session-settings.ts";
import { dispatchCallbacks } from "#lib/engine/dispatch-callbacks.ts";
import { createAdmissionLead } from "#lib/engine/lead-admission.ts";
import { forgetWorkers } from "#lib/engine/forget-workers.ts";
import { LEASE_MS } from "#lib/engine/lease.ts";
import { deleteExpired, deleteLeftBehind, rotateGenerations } from "#lib/engine/retention.ts";
import { startAllQueuedRuns } from "#lib/engine/start-all-queued-runs.ts";
import { sweep } from "#lib/engine/sweep.ts";
import { plainEnv, type Settings } from "#lib/env.ts";
import { createDutyMetrics } from "#lib/obs/duty-metrics.ts";
import { createLogger } from "#lib/obs/log.ts";
import { engineService } from "../engine-service.ts";
import { everyService, type Sooner } from "#lib/obs/every.ts";
import { createDuties } from "#lib/obs/duties.ts";
import { healthService } from "../health.ts";
import { runProcess, type Service } from "../lifecycle.ts";
import { guestPlaceOf, openIsolation } from "../isolation.ts";
import { anonymousName } from "../leftovers.ts";
import { createLoader, type Loader } from "../loader/loader.ts";
import { commonRounds } from "../rounds.ts";
import { createProtocolGuard, stopOnMismatch } from "../protocol-guard.ts";
import { schedulersOf } from "../task-user.ts";
import type { DescribedPlugins } from "../plugins/describe.ts";
import { createAgeCheck } from "./database-age.ts";
import { admissionService } from "./admission.ts";
import { checkSchedulesOnTime, firingService } from "./firing.ts";
import { hearingService } from "./hearing.ts";
import { presenceService } from "./presence.ts";
import { guardedSweep } from "./sweep-guard.ts";

/** Duties that may be under way at once; the others wait a moment. */
const CONNECTIONS = 6;

const LOAD_EVERY_MS = 1_000;
const ACTIONS_EVERY_MS = 1_000;
const RUNS_EVERY_MS = 2_000;
const BACKFILLS_EVERY_MS = 5_000;
const SWEEP_EVERY_MS = 2_000;
const CALLBACKS_EVERY_MS = 5_000;
const CALLBACK_QUEUE_EVERY_MS = 60_000;
const XCOMS_EVERY_MS = 60_000;
const SIGN_INS_EVERY_MS = 60_000;
const WAIT_SPANS_EVERY_MS = 600_000;
const OVERDUE_EVERY_MS = 10_000;
const FIRST_LOAD_MS = 15_000;
/** A DAG of ten thousand tasks takes a fifth of it. */
const EVALUATOR_MIB = 1_024;
const GENERATIONS_EVERY_MS = 60_000;
const RETENTION_EVERY_MS = 10_000;
const HISTORY_EVERY_MS = 60_000;
const DATABASE_AGE_EVERY_MS = 60_000;
const UNNEEDED_EVERY_MS = 600_000;
const GONE_WORKERS_EVERY_MS = 600_000;
const STATISTICS_EVERY_MS = 3_600_000;

/**
 * The scheduler process: loads definitions, admits what nobody admitted, repairs what others left. Any number may run. One with a
 * `name` leads admission at once where the last one of this name did.
 */
export async function runScheduler(
  settings: Settings & { databaseUrl: string },
  plugins: DescribedPlugins,
  name?: string,
): Promise<void> {
  const log = createLogger({ level: settings.logLevel, component: "scheduler" });
  const build = async (): Promise<{ services: Service[] }> => {
    const lead = createAdmissionLead(randomUUID(), name);
    const deps = engineDeps(settings, { name: "scheduler", connections: CONNECTIONS }, log, lead.request);
    const duties = createDuties();
    const metrics = createDutyMetrics(duties.report);
    let quarantined: Record<string, number> = {};
    const isolation = await openIsolation({
      name: anonymousName("scheduler", os.hostname()),
      settings,
      log,
      choose: schedulersOf,
      dagsDir: "readable",
    });
    const place = guestPlaceOf(isolation, settings, EVALUATOR_MIB);
    const loader = createLoader({ deps, dagsDir: settings.dagsDir, env: plainEnv(), plugins, place });
    const guarded = guardedSweep({ leaseMs: LEASE_MS, probe: () => ping(deps.pool), sweep: () => sweep(deps) });
    const protocol = createProtocolGuard({ log, onOver: stopOnMismatch });
    const duty = (name: string, everyMs: number, run: () => Promise<Sooner | void>): Service =>
      everyService({ name, everyMs, duties, metrics, log, run: () => protocol.guarding(name, run) });
    const firing = firingService(deps, duties, metrics, protocol);
    const admission = admissionService(deps, lead, duties, metrics, protocol);
    const hearing = hearingService(deps, { sluice_schedules: firing.wake, sluice_admission: admission.wake });
    return {
      services: [
        { name: "isolation", start: () => Promise.resolve(), stop: isolation.stop },
        { name: "evaluation", start: () => Promise.resolve(), stop: async () => loader.stop() },
        engineService(deps, requireHistoryRights),
        duty("generations", GENERATIONS_EVERY_MS, () => rotateGenerations(deps)),
        { name: "first load", start: () => firstLoad(loader, log), stop: () => Promise.resolve() },
        firing,
        duty("overdue schedules", OVERDUE_EVERY_MS, () => checkSchedulesOnTime(deps)),
        duty("load", LOAD_EVERY_MS, () => loader.pass()),
        admission,
        hearing,
        ...commonRounds(deps, { duties, metrics }, hearing.age),
        duty("runs", RUNS_EVERY_MS, () => startAllQueuedRuns(deps)),
        duty("backfills", BACKFILLS_EVERY_MS, () => tendBackfills(deps)),
        duty("callbacks", CALLBACKS_EVERY_MS, () => dispatchCallbacks(deps)),
        duty("callback queue", CALLBACK_QUEUE_EVERY_MS, () => deps.queue.callbacks.supervise()),
        duty("wait spans", WAIT_SPANS_EVERY_MS, async () => void (await deleteOldWaitSpans(deps.pool))),
        duty("expired xcoms", XCOMS_EVERY_MS, () => deleteExpiredXcoms(deps.pool)),
        duty("wrong passwords", SIGN_INS_EVERY_MS, () => deleteForgottenFailures(deps.pool)),
        duty("retention", RETENTION_EVERY_MS, async () => ({ againInMs: await deleteExpired(deps) })),
        duty("old history", HISTORY_EVERY_MS, () => deleteLeftBehind(deps)),
        duty("database age", DATABASE_AGE_EVERY_MS, createAgeCheck(deps, metrics.registry)),
        duty("session settings", SETTINGS_EVERY_MS, createSettingsCheck(deps)),
        duty("unneeded rows", UNNEEDED_EVERY_MS, createUnneededRows(deps)),
        duty("gone workers", GONE_WORKERS_EVERY_MS, () => forgetWorkers(deps)),
        duty("statistics", STATISTICS_EVERY_MS, () => sampleSizes(deps.pool)),
        duty("actions", ACTIONS_EVERY_MS, () => carryOutActions(deps)),
        duty("sweep", SWEEP_EVERY_MS, guarded),
        presenceService(deps, duties, metrics, protocol, (counts) => {
          quarantined = counts;
          metrics.quarantined(counts);
        }),
        healthService({
          host: settings.host,
          port: settings.healthPort,
          duties,
          metrics,
          quarantined: () => quarantined,
          isolated: () => isolation.isolated,
          log,
        }),
      ],
    };
  };
  await runProcess("scheduler", build, log);
}

/**
 * Whoever hears that the scheduler is ready finds the DAGs of the folder there. A file that takes long to evaluate
 * does not hold the start up for ever.
 */
async function firstLoad(loader: Loader, log: Log): Promise<void> {
  const limit = new AbortController();
  const pass = loader.pass().catch((error: unknown) => {
    log.warn({ error: messageOf(error) }, "the DAGs folder could not be loaded; trying again");
  });
  await Promise.race([pass, delay(FIRST_LOAD_MS, undefined, { signal: limit.signal }).catch(() => undefined)]);
  limit.abort();
}
