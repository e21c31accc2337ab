import { afterEach, beforeEach, expect, test } from "vitest";
import { listAttempts } from "#lib/db/attempt-reads.ts";
import type { Claimed } from "#lib/db/claims.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { inTx } from "#lib/db/tx.ts";
import { finish } from "#lib/engine/finish.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, start, success, worker } from "#lib/testing/engine.ts";
import { createLogWriter, type LogWriter } from "./log-writer.ts";

const database = testDatabase();

let one: Claimed;
let other: Claimed;
let lost: number[];
let writer: LogWriter;

beforeEach(async () => {
  const { deps } = database;
  await forgetRuns(deps);
  await publish(deps, "logs", { a: [], b: [] });
  const w = await worker(deps, "w");
  await start(deps, "logs");
  [one, other] = (await claimAll(deps, w)) as [Claimed, Claimed];
  lost = [];
  writer = createLogWriter(deps, { maxBytes: 1024 * 1024, maxFailures: 2, onLost: (bytes) => lost.push(bytes) });
});

afterEach(accept);

/** From now on the database refuses rows of this table for which the condition holds. */
async function refuse(table: string, condition: string, code = "P0001"): Promise<void> {
  await database.pool.query(`
    create or replace function sluice.refuse() returns trigger language plpgsql as $$
    begin
      if ${condition} then raise exception 'refused' using errcode = '${code}'; end if;
      return new;
    end $$`);
  await database.pool.query(
    `create trigger refuse before insert on sluice.${table} for each row execute function sluice.refuse()`,
  );
}

async function accept(): Promise<void> {
  await database.pool.query("drop function if exists sluice.refuse cascade");
}

async function logOf({ taskInstanceId, number }: Claimed): Promise<string> {
  const chunks = await database.deps.logs.read({ taskInstanceId, number }, -1);
  return chunks.map(({ stream, chunk }) => `${stream}: ${Buffer.from(chunk).toString().trim()}`).join("\n");
}

const losses = async ({ taskInstanceId }: Claimed): Promise<number[]> =>
  (await listAttempts(database.pool, taskInstanceId)).map(({ lostLogBytes }) => lostLogBytes);

async function lossEvents(): Promise<string[]> {
  const { rows } = await database.pool.query<{ reason: string }>(
    "select reason from sluice.event where reason like 'LOG_LOST%' order by id",
  );
  return rows.map(({ reason }) => reason);
}

const NOTICE = (bytes: number): string =>
  `system: [${bytes} bytes of output are missing here: the database did not store them]`;

test("output that was given up is told at its place in the log, beside the attempt, as an event and by a count", async () => {
  const log = writer.open(one);
  await log.write("stdout", Buffer.from("first\n"));
  await log.stored();
  await refuse("task_log", "convert_from(new.chunk, 'UTF8') like '%precious%'");
  await log.write("stdout", Buffer.from("precious\n"));
  await log.write("stderr", Buffer.from("precious, too\n"));
  // The attempt has not ended; what follows is stored behind the notice.
  const following = log.stored();
  await following;
  await accept();
  await log.write("stdout", Buffer.from("last\n"));
  await log.stored();
  expect(await logOf(one)).toBe(["stdout: first", NOTICE(23), "stdout: last"].join("\n"));
  expect(lost).toEqual([23]);
  await finish(database.deps, [success(one)], "worker:w");
  expect(await losses(one)).toEqual([23]);
  expect(await losses(other)).toEqual([0]);
  expect(await lossEvents()).toEqual(["LOG_LOST: 23 bytes"]);
  const broken = (await inTx(database.pool, checkInvariants)).filter((check) => check.broken.length > 0);
  expect(broken).toEqual([]);
});

test("what one attempt cannot store costs no other attempt its output", async () => {
  await refuse("task_log", `new.task_instance_id = ${one.taskInstanceId} and new.stream <> 'system'`);
  const [bad, good] = [writer.open(one), writer.open(other)];
  await bad.write("stdout", Buffer.from("refused"));
  await good.write("stdout", Buffer.from("stored"));
  await Promise.all([bad.stored(), good.stored()]);
  expect(await logOf(other)).toBe("stdout: stored");
  expect(await logOf(one)).toBe(NOTICE(7));
  expect([await losses(one), await losses(other)]).toEqual([[7], [0]]);
});

test("output that the database refuses for its values is not tried again, so others do not wait", async () => {
  await refuse("task_log", `new.task_instance_id = ${one.taskInstanceId} and new.stream <> 'system'`, "22003");
  const { append } = database.deps.logs;
  let refused = 0;
  database.deps.logs.append = async (chunks) => {
    try {
      await append(chunks);
    } catch (error) {
      refused++;
      throw error;
    }
  };
  try {
    const [bad, good] = [writer.open(one), writer.open(other)];
    await bad.write("stdout", Buffer.from("refused"));
    await good.write("stdout", Buffer.from("stored"));
    await Promise.all([bad.stored(), good.stored()]);
  } finally {
    database.deps.logs.append = append;
  }
  // Together with the other's once, and alone once.
  expect(refused).toBe(2);
  expect(await logOf(other)).toBe("stdout: stored");
  expect(await losses(one)).toEqual([7]);
});

test("the attempt says so also where its log takes nothing at all, not even the notice", async () => {
  await refuse("task_log", "true");
  const log = writer.open(one);
  await log.write("stdout", Buffer.from("refused"));
  await log.stored();
  expect(await logOf(one)).toBe("");
  expect(await losses(one)).toEqual([7]);
  expect(await lossEvents()).toEqual(["LOG_LOST: 7 bytes"]);
});

test("a loss that cannot be recorded at first is recorded before the attempt's end is handed in", async () => {
  await refuse("task_log", "new.stream <> 'system'");
  const log = writer.open(one);
  await log.write("stdout", Buffer.from("refused"));
  const { recordLosses } = database.deps.logs;
  let tries = 0;
  database.deps.logs.recordLosses = (some) => (++tries === 1 ? Promise.reject(new Error("away")) : recordLosses(some));
  try {
    await log.stored();
  } finally {
    database.deps.logs.recordLosses = recordLosses;
  }
  expect(tries).toBe(2);
  expect(await losses(one)).toEqual([7]);
});
