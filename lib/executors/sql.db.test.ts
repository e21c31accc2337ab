import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { NO_XCOMS } from "#lib/domain/xcom.ts";
import { SqlConfig } from "#lib/domain/model/task-types.ts";
import { testDatabase } from "#lib/testing/database.ts";
import type { ExecutorContext, Outcome } from "./executor.ts";
import { createAddressGuard } from "./http-address.ts";
import { sql } from "./sql.ts";

const database = testDatabase();
let log = "";
afterEach(() => {
  log = "";
  vi.unstubAllEnvs();
});

type Given = { connection?: string; signal?: AbortSignal; taskId?: string; timeoutMs?: number; unchecked?: object };

function run(
  query: string,
  more: object = {},
  { connection, signal, taskId, timeoutMs, unchecked }: Given = {},
): Promise<Outcome> {
  const context: ExecutorContext = {
    attempt: {
      attemptId: "a-1",
      number: 1,
      taskInstanceId: "1048576",
      taskId: taskId ?? "t",
      runId: "1",
      dagId: "d",
      logicalDate: "2026-01-01T00:00:00.000Z",
      intervalStart: "2026-01-01T00:00:00.000Z",
      intervalEnd: "2026-01-02T00:00:00.000Z",
      conf: {},
      params: {},
      bundle: undefined,
    },
    env: {},
    inputs: async () => NO_XCOMS,
    signal: signal ?? new AbortController().signal,
    timeoutMs: timeoutMs ?? 60_000,
    workDir: "/nonexistent",
    // Nothing private is allowed: the guard is not for databases.
    network: createAddressGuard([]),
    sourceOf: () => Promise.reject(new Error("it has no file")),
    log: (stream, text) => (log += `${stream}: ${text}`),
    spawn: () => Promise.reject(new Error("no process")),
    contain: () => Promise.reject(new Error("no container")),
    call: () => Promise.reject(new Error("no function")),
  };
  const config = SqlConfig.parse({ connection: connection ?? database.url, query, ...more });
  return sql.run(context, { ...config, ...unchecked });
}

/** What the only column of the only row has. */
async function value(expression: string, ...params: unknown[]): Promise<unknown> {
  const outcome = await run(`select ${expression} as v`, { params });
  if (outcome.kind !== "success") throw new Error(JSON.stringify(outcome));
  return (outcome.output as { v: unknown }[])[0]!.v;
}

const errorOf = (outcome: Outcome): string => (outcome.kind === "failed" ? `${outcome.reason}: ${outcome.error}` : "");

function urlOf(change: (url: URL) => void): string {
  const url = new URL(database.url);
  change(url);
  return url.href;
}

beforeAll(async () => {
  await database.pool.query("create table orders (id bigint primary key, name text, amount numeric)");
  await database.pool.query("insert into orders values (1, 'a', 1.50), (9007199254740993, 'b', null)");
});

describe("a query", () => {
  test("gives its rows as objects, and says in the log what it did", async () => {
    expect(await run("select * from orders order by id")).toEqual({
      kind: "success",
      output: [
        { id: "1", name: "a", amount: "1.50" },
        { id: "9007199254740993", name: "b", amount: null },
      ],
    });
    expect(log).toMatch(/^system: SELECT: 2 rows in \d+ ms\n$/);
    expect(await run("select from orders where false")).toEqual({ kind: "success", output: { rowCount: 0 } });
    expect(await run("select 1 as one where false")).toEqual({ kind: "success", output: [] });
  });

  test.each([
    ["1.10::numeric(10,2)", "1.10"],
    ["7::smallint", 7],
    ["1.5::float8", 1.5],
    ["'NaN'::float8", "NaN"],
    ["true", true],
    ["null::int", null],
    ["'x'::bytea", "eA=="],
    [`'{"a": [1, null, "x"]}'::jsonb`, { a: [1, null, "x"] }],
    ["'[1]'::json", [1]],
    ["array[1, null, 3]", [1, null, 3]],
    [
      "array[[1::bigint, 2], [3, 4]]",
      [
        ["1", "2"],
        ["3", "4"],
      ],
    ],
    [`array['a,b', '"', null]`, ["a,b", '"', null]],
    [`array['{"a": "}"}'::jsonb]`, [{ a: "}" }]],
    ["'{}'::int[]", []],
    ["date '2026-01-31'", "2026-01-31"],
    ["timestamp '2026-01-31 06:00:00.000001'", "2026-01-31T06:00:00.000001"],
    ["timestamptz '2026-01-31 06:30:00.25+05:30'", "2026-01-31T01:00:00.25Z"],
    ["timestamptz 'infinity'", "infinity"],
    ["timestamptz '0044-03-15 00:00:00+00 BC'", expect.stringMatching(/ BC$/)],
    ["array[timestamptz '2026-01-31 06:00:00Z']", ["2026-01-31T06:00:00Z"]],
    ["interval '1 day 2 hours'", "1 day 02:00:00"],
    ["uuid '00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"],
    ["int4range(1, 3)", "[1,3)"],
  ])("gives %s as JSON has it", async (expression, expected) => {
    expect(await value(expression)).toEqual(expected);
  });

  test("reads times whatever the server's own zone and form are", async () => {
    const odd = urlOf((url) => url.searchParams.set("options", "-c timezone=Asia/Kolkata -c datestyle=German"));
    expect(
      await run("select timestamptz '2026-01-31 06:00:00Z' as at, '\\x00ff'::bytea as b", {}, { connection: odd }),
    ).toEqual({
      kind: "success",
      output: [{ at: "2026-01-31T06:00:00Z", b: "AP8=" }],
    });
  });

  test("binds its params with the types of their places", async () => {
    expect(await value("$1::int + $2", 3, 4)).toBe(7);
    expect(await value("$1::date", "2026-01-31")).toBe("2026-01-31");
    expect(await value("$1::jsonb", { a: ["x"] })).toEqual({ a: ["x"] });
    expect(await value("2 = any($1::int[])", [1, 2])).toBe(true);
    expect(await value("$1::text[]", ["a,b", '"{}', null])).toEqual(["a,b", '"{}', null]);
    expect(await value("$1::text is null", null)).toBe(true);
    expect(await value("$1::bool", false)).toBe(false);
    expect(await value("$1::bigint", "9007199254740993")).toBe("9007199254740993");
  });

  test("takes a param as data, whatever it holds", async () => {
    for (const text of ["'; drop table orders; --", "$1", "\\'", "${{ secrets.X }}", '"}{', "\n\r\t", "🙂"]) {
      expect(await value("$1::text", text)).toBe(text);
      expect(await run("select id from orders where name = $1", { params: [text] })).toMatchObject({ output: [] });
    }
    expect(await run("select count(*) as n from orders")).toMatchObject({ output: [{ n: "2" }] });
    // The model refuses it before; the server does as well.
    expect(() => SqlConfig.parse({ connection: "x", query: "select $1", params: ["a\0b"] })).toThrow(/NUL/);
    expect(errorOf(await run("select $1::text", {}, { unchecked: { params: ["a\0b"] } }))).toMatch(
      /^SQL_ERROR: .*\(SQLSTATE 22021\)/,
    );
  });

  test("is one statement", async () => {
    expect(errorOf(await run("select 1; drop table orders"))).toMatch(/^SQL_ERROR: .*multiple commands.*42601/);
    expect(await run("-- nothing")).toEqual({ kind: "success", output: { rowCount: 0 } });
  });

  test("that changes rows gives their number, or what it returns", async () => {
    expect(await run("insert into orders values (7, $1, 2), (8, $1, 3)", { params: ["new"] })).toEqual({
      kind: "success",
      output: { rowCount: 2 },
    });
    expect(await run("delete from orders where name = 'new' returning id")).toMatchObject({
      output: [{ id: "7" }, { id: "8" }],
    });
    expect(await run("create temp table x ()")).toEqual({ kind: "success", output: { rowCount: 0 } });
    // What cannot run inside a transaction can.
    expect(await run("vacuum orders")).toEqual({ kind: "success", output: { rowCount: 0 } });
  });

  test("keeps a column of any name, and refuses two of one", async () => {
    const outcome = await run(`select '{"polluted": true}'::json as "__proto__", 1 as "constructor"`);
    expect(JSON.stringify(outcome)).toContain('[{"__proto__":{"polluted":true},"constructor":1}]');
    expect(errorOf(await run("select 1 as id, 2 as id"))).toBe(
      'SQL_ERROR: two columns are called "id"; name one of them with AS',
    );
  });

  test("tells what the server says meanwhile, and who asks", async () => {
    await run("do $$ begin raise notice 'half way'; end $$");
    expect(log).toContain("system: NOTICE: half way\n");
    expect(await run("select current_setting('application_name') as name", {}, { taskId: "load" })).toMatchObject({
      output: [{ name: "sluice/d/load" }],
    });
  });
});

describe("too much", () => {
  test("rows than are wanted fail it, and undo it", async () => {
    expect(await run("select n from generate_series(1, 1000) n")).toMatchObject({ kind: "success" });
    expect(await run("select n from generate_series(1, 1001) n")).toMatchObject({
      kind: "failed",
      reason: "RESULT_TOO_LARGE",
      error: "the query gives more than 1000 rows (maxRows)",
    });
    expect(
      await run("insert into orders select n from generate_series(10, 15) n returning id", { maxRows: 5 }),
    ).toMatchObject({
      reason: "RESULT_TOO_LARGE",
    });
    expect(await run("select count(*) as n from orders")).toMatchObject({ output: [{ n: "2" }] });
  });

  test("or too unclear rows undo what the statement did, also when all of them are here", async () => {
    expect(await run("insert into orders values (20, 'x') returning id, id")).toMatchObject({ reason: "SQL_ERROR" });
    expect(
      await run("insert into orders values (21, repeat('x', 2000000)) returning name", { maxRows: 5 }),
    ).toMatchObject({ reason: "RESULT_TOO_LARGE" });
    expect(await run("select count(*) as n from orders")).toMatchObject({ output: [{ n: "2" }] });
  });

  test("depth than JSON can be written with fails it, and not the worker", async () => {
    const outcome = await run("select (repeat('[', $1::int) || repeat(']', $1::int))::json as v", { params: [6_000] });
    expect(errorOf(outcome)).toMatch(/^SQL_ERROR: a row cannot be written as JSON: /);
  });

  test("bytes than an output may have fail it before they are all here", async () => {
    const outcome = await run("select repeat('x', 300000) as text from generate_series(1, 1000)");
    expect(errorOf(outcome)).toMatch(/^RESULT_TOO_LARGE: the rows have more than 1048576 bytes/);
  });
});

describe("a failure", () => {
  test("tells its state and its place in the query", async () => {
    expect(errorOf(await run("select id\n  from ordrs"))).toBe(
      'SQL_ERROR: relation "ordrs" does not exist (SQLSTATE 42P01, line 2, column 8)',
    );
    expect(errorOf(await run("select 'é🙂', nope"))).toContain("line 1, column 14");
    expect(errorOf(await run("insert into orders values (1)"))).toMatch(
      /SQLSTATE 23505\)\nKey \(id\)=\(1\) already exists/,
    );
    expect(errorOf(await run("select $1::int", { params: ["x"] }))).toMatch(/^SQL_ERROR: .*22P02/);
    expect(errorOf(await run("select $2::int", { params: [1] }))).toMatch(/^SQL_ERROR: /);
  });

  test.each([
    ["40001", "SQL_RETRYABLE"],
    ["40P01", "SQL_RETRYABLE"],
    ["55P03", "SQL_RETRYABLE"],
    ["57P01", "SQL_CONNECTION"],
    ["08006", "SQL_CONNECTION"],
    ["53300", "SQL_CONNECTION"],
    ["23505", "SQL_ERROR"],
    ["57014", "SQL_ERROR"],
  ])("with SQLSTATE %s is of the kind %s", async (code, reason) => {
    const outcome = await run(`do $$ begin raise exception 'told' using errcode = '${code}'; end $$`);
    expect(outcome).toMatchObject({ kind: "failed", reason, error: expect.stringContaining(`(SQLSTATE ${code}`) });
  });

  test("of the connection is its own kind: nobody there, no encryption, ended by the server", async () => {
    const nobody = urlOf((url) => (url.port = "1"));
    expect(errorOf(await run("select 1", {}, { connection: nobody }))).toMatch(
      /^SQL_CONNECTION: the database could not be reached: .*ECONNREFUSED/,
    );
    const encrypted = urlOf((url) => url.searchParams.set("sslmode", "require"));
    expect(errorOf(await run("select 1", {}, { connection: encrypted }))).toMatch(
      /^SQL_CONNECTION: .*does not support SSL/,
    );
    expect(errorOf(await run("select pg_terminate_backend(pg_backend_pid())"))).toMatch(/^SQL_CONNECTION: .*57P01/);
  });

  test("to log in holds no password, and is not one that passes", async () => {
    const connection = urlOf((url) => (url.password = "hunter2-hunter2"));
    const outcome = await run("select 1", {}, { connection });
    expect(errorOf(outcome)).toMatch(/^SQL_ERROR: password authentication failed.*\(SQLSTATE 28P01\)/);
    expect(JSON.stringify(outcome) + log).not.toContain("hunter2");
    expect(errorOf(await run("select 1", {}, { connection: "postgres://u:hunter2@h" }))).toMatch(
      /^SQL_ERROR: the database's address \(connection\) has no database/,
    );
  });

  test("comes of an address that says too little: the worker's own connection settings are never used", async () => {
    const own = new URL(database.url);
    vi.stubEnv("PGHOST", own.hostname);
    vi.stubEnv("PGPORT", own.port);
    vi.stubEnv("PGUSER", own.username);
    vi.stubEnv("PGPASSWORD", decodeURIComponent(own.password));
    vi.stubEnv("PGDATABASE", own.pathname.slice(1));
    vi.stubEnv("PGOPTIONS", "-c search_path=stolen");
    const anonymous = urlOf((url) => (url.password = ""));
    expect(errorOf(await run("select 1", {}, { connection: anonymous }))).toMatch(/password/);
    expect(errorOf(await run("select 1", {}, { connection: `postgres://${own.host}/x` }))).toMatch(/has no user/);
    expect(await run("show search_path")).not.toMatchObject({ output: [{ search_path: "stolen" }] });
  });
});

describe("an abort", () => {
  /** Reads until it is so; each look is a query of its own. */
  async function until(isSo: (active: number) => boolean, name: string): Promise<number> {
    const started = performance.now();
    for (;;) {
      const { rows } = await database.pool.query<{ active: number }>(
        "select count(*)::int as active from pg_stat_activity where application_name = $1 and query like '%pg_sleep%' and state = 'active'",
        [name],
      );
      if (isSo(rows[0]!.active)) return performance.now() - started;
    }
  }

  async function abortRunning(
    taskId: string,
    connection = database.url,
  ): Promise<{ outcome: Outcome; tookMs: number }> {
    const stop = new AbortController();
    const running = run("select pg_sleep(600), 'long'", {}, { taskId, signal: stop.signal, connection });
    await until((active) => active === 1, `sluice/d/${taskId}`);
    const aborted = performance.now();
    stop.abort(new Error("timeout"));
    const outcome = await running;
    await until((active) => active === 0, `sluice/d/${taskId}`);
    return { outcome, tookMs: performance.now() - aborted };
  }

  test("cancels the query on the server within two seconds", async () => {
    const { outcome, tookMs } = await abortRunning("cancelled");
    expect(outcome).toEqual({ kind: "failed", reason: "CANCELLED", error: "the query was cancelled" });
    expect(tookMs).toBeLessThan(2_000);
  });

  test("does so when no second connection can be had", async () => {
    await database.pool.query("create role single login password 'single-password' connection limit 1");
    const connection = urlOf((url) => {
      url.username = "single";
      url.password = "single-password";
    });
    const { outcome, tookMs } = await abortRunning("single", connection);
    await database.pool.query("drop role single");
    expect(outcome).toMatchObject({ reason: "CANCELLED" });
    expect(tookMs).toBeLessThan(2_000);
  });

  test("before the query has begun lets none begin", async () => {
    const outcome = await run("insert into orders values (99)", {}, { signal: AbortSignal.abort() });
    expect(outcome).toMatchObject({ reason: "CANCELLED" });
    const stop = new AbortController();
    const running = run("insert into orders values (99)", {}, { signal: stop.signal });
    stop.abort();
    expect(await running).toMatchObject({ reason: "CANCELLED" });
    expect(await run("select count(*) as n from orders")).toMatchObject({ output: [{ n: "2" }] });
  });
});

test("the server has a limit of its own for a worker that is gone, under which a stricter one stays", async () => {
  const limit =
    "select current_setting('statement_timeout') as v, current_setting('client_connection_check_interval') as c";
  // The role of Sluice itself has limits of its own.
  const endless = urlOf((url) => url.searchParams.set("options", "-c statement_timeout=0"));
  expect(await run(limit, {}, { timeoutMs: 25_000, connection: endless })).toMatchObject({
    output: [{ v: "30s", c: "500ms" }],
  });
  const strict = urlOf((url) => url.searchParams.set("options", "-c statement_timeout=4s"));
  expect(await run(limit, {}, { timeoutMs: 25_000, connection: strict })).toMatchObject({ output: [{ v: "4s" }] });
});
