import { randomBytes } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, start, worker } from "#lib/testing/engine.ts";
import type { Claimed } from "./claims.ts";
import type { LogChunk } from "./task-logs.ts";

const database = testDatabase();
let attempt: Claimed;

beforeEach(async () => {
  const { deps } = database;
  await forgetRuns(deps);
  await publish(deps, "logs", { a: [] });
  const ref = await worker(deps, "w");
  await start(deps, "logs");
  attempt = (await claimAll(deps, ref))[0]!;
});

function chunk(seq: number, bytes: Buffer, token = attempt.token): LogChunk {
  return { taskInstanceId: attempt.taskInstanceId, number: attempt.number, token, seq, stream: "stdout", bytes };
}

async function whole(): Promise<Buffer> {
  const { logs } = database.deps;
  const chunks = [];
  for (let after = -1; ;) {
    const more = await logs.read(attempt, after);
    if (more.length === 0) return Buffer.concat(chunks.map((row) => row.chunk));
    chunks.push(...more);
    after = more.at(-1)!.seq;
  }
}

test("hands back every byte, however well it can be compressed", async () => {
  const { logs } = database.deps;
  const pieces = [
    Buffer.alloc(0),
    Buffer.from("\0 one line\n"),
    Buffer.alloc(64 * 1024, "the same line again\n"),
    randomBytes(64 * 1024),
    randomBytes(300),
    Buffer.from("\xff\xfe not UTF-8", "latin1"),
  ];
  const many = Array.from({ length: 40 }, () => pieces).flat();
  await logs.append(many.map((bytes, seq) => chunk(seq, bytes)));
  expect((await whole()).equals(Buffer.concat(many))).toBe(true);
  const { rows } = await database.pool.query<{ kept: string; bytes: string }>(
    "select sum(length(chunk)) as kept, sum(bytes) as bytes from sluice.task_log",
  );
  expect(Number(rows[0]!.bytes)).toBe(Buffer.concat(many).length);
  // The half of it that is the same line is next to nothing.
  expect(Number(rows[0]!.kept)).toBeLessThan(0.52 * Buffer.concat(many).length);
});

test("keeps once what is given twice, and nothing of a worker that was fenced", async () => {
  const { logs } = database.deps;
  const one = chunk(0, Buffer.from("one "));
  await logs.append([one]);
  await logs.append([one, chunk(1, Buffer.from("two"))]);
  await logs.append([chunk(2, Buffer.from("a zombie's"), database.deps.newToken())]);
  expect((await whole()).toString()).toBe("one two");
  await database.pool.query("update sluice.live_attempt set token = gen_random_uuid()");
  await logs.append([chunk(3, Buffer.from("late"))]);
  expect((await whole()).toString()).toBe("one two");
});
