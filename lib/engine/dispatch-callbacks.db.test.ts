import { beforeEach, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, start } from "#lib/testing/engine.ts";
import { held } from "#lib/testing/races.ts";
import { dispatchCallbacks } from "./dispatch-callbacks.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

/** More than are moved in one transaction. */
const MANY = 1_100;

async function publish(id: string, callbacks: object): Promise<void> {
  const tasks = [{ id: "a", type: "bash", config: { command: "true" } }];
  const spec = DagSpec.parse({ id, callbacks, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** Puts so many ends of a run of this DAG into the list. */
async function list(dagId: string, count: number): Promise<void> {
  const runId = await start(database.deps, dagId);
  await database.pool.query(
    "insert into sluice.callback (run_id, event) select $1, 'success' from generate_series(1, $2::int)",
    [runId, count],
  );
}

async function counts(): Promise<{ listed: number; jobs: number }> {
  const { rows } = await database.pool.query<{ listed: number; jobs: number }>(
    `select (select count(*)::int from sluice.callback) as listed,
            (select count(*)::int from sluice_boss.job where name = 'callbacks') as jobs`,
  );
  return rows[0]!;
}

test("ends without a call keep no end behind them from being handed over", async () => {
  await publish("silent", {});
  await publish("calling", { onSuccess: [{ http: { url: "http://127.0.0.1/told" } }] });
  await list("silent", MANY);
  await list("calling", 1);
  await dispatchCallbacks(database.deps);
  expect(await counts()).toEqual({ listed: 0, jobs: 1 });
});

test("ends that another process is moving keep no end behind them from being handed over", async () => {
  await publish("calling", { onSuccess: [{ http: { url: "http://127.0.0.1/told" } }] });
  await list("calling", MANY);
  const other = await held(database.deps, (tx) =>
    tx.query(
      `select from sluice.callback where id in (select id from sluice.callback order by id limit 600) for update`,
    ),
  );
  await dispatchCallbacks(database.deps);
  expect(await counts()).toEqual({ listed: 600, jobs: MANY - 600 });
  await other.commit();
  await dispatchCallbacks(database.deps);
  expect(await counts()).toEqual({ listed: 0, jobs: MANY });
});
