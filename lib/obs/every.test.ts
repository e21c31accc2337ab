import { pino } from "pino";
import { expect, test } from "vitest";
import { createDutyMetrics } from "#lib/obs/duty-metrics.ts";
import { createDuties } from "./duties.ts";
import { everyService } from "./every.ts";

test("a duty that hangs grows old while it runs, and keeps no other from being done", async () => {
  let nowMs = 0;
  const duties = createDuties(() => nowMs);
  const metrics = createDutyMetrics(duties.report);
  const log = pino({ level: "silent" });
  const hung = Promise.withResolvers<void>();
  const goesOn = Promise.withResolvers<void>();
  let times = 0;
  const services = [
    everyService({ name: "hangs", everyMs: 1, duties, metrics, log, run: () => hung.promise }),
    everyService({
      name: "goes on",
      everyMs: 1,
      duties,
      metrics,
      log,
      run: async () => {
        nowMs = 11_000;
        if (++times === 3) goesOn.resolve();
      },
    }),
  ];
  for (const service of services) await service.start();
  await goesOn.promise;
  expect(duties.report()).toMatchObject([
    { name: "hangs", ok: false, ageMs: 11_000 },
    { name: "goes on", ok: true, ageMs: 0 },
  ]);
  const text = await metrics.text();
  expect(text).toContain('sluice_duty_age_seconds{duty="hangs"} 11\n');
  expect(text).not.toContain('sluice_duty_runs_total{duty="hangs"');
  hung.resolve();
  for (const service of services) await service.stop("signal");
  expect(duties.report()[0]).toMatchObject({ ok: true, ageMs: 0 });
});

test("a duty that fails each time is late, says with what, and is counted", async () => {
  let nowMs = 0;
  const duties = createDuties(() => nowMs);
  const metrics = createDutyMetrics(duties.report);
  const thrice = Promise.withResolvers<void>();
  let times = 0;
  const service = everyService({
    name: "fails",
    everyMs: 1,
    duties,
    metrics,
    log: pino({ level: "silent" }),
    run: () => {
      nowMs += 5_001;
      if (++times === 3) thrice.resolve();
      return Promise.reject(new Error("no such column"));
    },
  });
  await service.start();
  await thrice.promise;
  await service.stop("signal");
  expect(duties.report()).toMatchObject([{ ok: false, error: "no such column" }]);
  expect(await metrics.text()).toContain(`sluice_duty_runs_total{duty="fails",outcome="failed"} ${times}\n`);
});
