import { expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { start, worker } from "#lib/testing/engine.ts";
import { rollbackVersion } from "./rollback-version.ts";

const database = testDatabase();

function spec(id: string, command: string): DagSpec {
  return DagSpec.parse({ id, tasks: [{ id: "a", type: "bash", config: { command } }] });
}

function publish(id: string, command: string): Promise<"published" | "unchanged"> {
  const origin = { file: `${id}.yaml`, source: command, author: "test" };
  return inTx(database.deps.pool, (tx) => publishVersion(tx, spec(id, command), origin));
}

async function versions(id: string): Promise<{ number: number; note: string | null; current: boolean }[]> {
  const { rows } = await database.pool.query<{ number: number; note: string | null; current: boolean }>(
    `select v.number, v.note, v.id = d.current_version_id as current
       from sluice.dag_version v join sluice.dag d on d.id = v.dag_id where v.dag_id = $1 order by 1`,
    [id],
  );
  return rows;
}

test("a changed spec is a new version, the same one none, also from two processes at once", async () => {
  expect(await publish("a", "one")).toBe("published");
  expect(await publish("a", "one")).toBe("unchanged");
  const both = await Promise.all([publish("a", "two"), publish("a", "two")]);
  expect(both.toSorted()).toEqual(["published", "unchanged"]);
  expect(await versions("a")).toEqual([
    { number: 1, note: null, current: false },
    { number: 2, note: null, current: true },
  ]);
});

test("a rollback is a new version, runs keep theirs, and the unchanged file does not undo it", async () => {
  const { deps } = database;
  await publish("b", "one");
  await publish("b", "two");
  await worker(deps, "w");
  const runId = await start(deps, "b");
  expect(await rollbackVersion(deps, { dagId: "b", toNumber: 1, actor: "anna" })).toBe(3);
  expect(await publish("b", "two")).toBe("unchanged");
  expect(await versions("b")).toEqual([
    { number: 1, note: null, current: false },
    { number: 2, note: null, current: false },
    { number: 3, note: "rollback to version 1", current: true },
  ]);
  const { rows } = await database.pool.query(
    "select v.number from sluice.dag_run r join sluice.dag_version v on v.id = r.version_id where r.id = $1",
    [runId],
  );
  expect(rows).toEqual([{ number: 2 }]);
  await start(deps, "b");
  expect(await publish("b", "three")).toBe("published");
  expect((await versions("b")).at(-1)).toEqual({ number: 4, note: null, current: true });
});

test("a rollback to what is not there, or is there already, is refused", async () => {
  const { deps } = database;
  await publish("c", "one");
  const rollback = (dagId: string, toNumber: number): Promise<number> =>
    rollbackVersion(deps, { dagId, toNumber, actor: "anna" });
  await expect(rollback("nope", 1)).rejects.toMatchObject({ code: "dag_not_found" });
  await expect(rollback("c", 9)).rejects.toMatchObject({ code: "not_found" });
  await expect(rollback("c", 1)).rejects.toMatchObject({ code: "invalid_request" });
});

test("ten thousand tasks are published and started in a moment", async () => {
  const { deps } = database;
  const tasks = Array.from({ length: 10_000 }, (_, n) => ({
    id: `t${n}`,
    type: "noop",
    config: {},
    dependsOn: n === 0 ? [] : [`t${n - 1}`],
  }));
  const large = DagSpec.parse({ id: "large", tasks });
  const began = performance.now();
  await inTx(deps.pool, (tx) => publishVersion(tx, large, { file: "large.yaml", source: "", author: "test" }));
  const published = performance.now();
  await start(deps, "large");
  const started = performance.now();
  // The figures are for a quiet machine; a test only notices when the shape of the work changes.
  expect(published - began).toBeLessThan(40_000);
  expect(started - published).toBeLessThan(40_000);
  console.info(`published in ${Math.round(published - began)} ms, started in ${Math.round(started - published)} ms`);
});
