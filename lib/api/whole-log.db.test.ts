import { expect, test } from "vitest";
import type { LogLevel } from "#lib/domain/log-lines/level-words.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { wholeLog } from "./whole-log.ts";

const database = testDatabase();
const attempt = { taskInstanceId: "1048576", number: 1 };

function log(least?: LogLevel): Promise<string> {
  return wholeLog({ engine: database.deps }, attempt, least).text();
}

test("a log of many pages comes whole or by level, also when whole pages have nothing of the level", async () => {
  expect(await log()).toBe("");
  expect(await log("error")).toBe("");
  const lines = Array.from({ length: 1_000 }, (_, n) => (n === 3 || n === 900 ? `ERROR ${n}\n` : `DEBUG ${n}\n`));
  await database.pool.query(
    `insert into sluice.task_log (task_instance_id, attempt, seq, stream, bytes, chunk)
     select $1, $2, ord - 1, 'stdout', octet_length(line), convert_to(line, 'UTF8') from unnest($3::text[]) with ordinality l(line, ord)`,
    [attempt.taskInstanceId, attempt.number, [...lines, "[warn] half"]],
  );
  expect(await log()).toBe(`${lines.join("")}[warn] half`);
  expect(await log("error")).toBe("ERROR 3\nERROR 900\n");
  expect(await log("warn")).toBe("ERROR 3\nERROR 900\n[warn] half");
});
