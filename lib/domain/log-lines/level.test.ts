import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { withoutAnsi } from "./ansi.ts";
import { LOG_LEVELS, type LogLevel } from "./level-words.ts";
import { HEAD_LENGTH, isAtLeast, levelBelow, levelOf } from "./level.ts";

/** Lines of programs that people run, as they are. */
const LINES: Record<LogLevel | "none", readonly string[]> = {
  error: [
    "ERROR disk is gone",
    "error: no such file",
    "[error] disk is gone",
    'level=error msg="no luck"',
    'time="2026-01-31T06:00:00Z" level="fatal" msg=x',
    '{"level":50,"time":1769839200000,"msg":"no luck"}',
    '{"asctime": "2026-01-31 06:00:00,000", "levelname": "ERROR", "message": "no luck"}',
    '{"levelno": 40, "msg": "no luck"}',
    '{"severity":"CRITICAL","message":"no luck"}',
    '{"version":"1.1","short_message":"no luck","level":3}',
    "ERROR:root:no luck",
    "2026-01-31 06:00:00,123 - my.module - ERROR - no luck",
    "2026-01-31 06:00:00,123 ERROR my.module: no luck",
    "2026-01-31 06:00:00.123 | ERROR    | __main__:run:3 - no luck",
    "2026-01-31T06:00:00.123Z\terror\tmain.go:12\tno luck",
    "[2026-01-31 06:00:00,123: ERROR/MainProcess] no luck",
    "[2026-01-31T06:00:00Z ERROR loader] no luck",
    "2026-01-31 06:00:00,123 [main] ERROR com.example.Job - no luck",
    "2026/01/31 06:00:00 [error] 123#0: *1 open() failed",
    "2026-01-31 06:00:00.123 UTC [42] ERROR:  relation does not exist",
    "psql:load.sql:3: ERROR:  relation does not exist",
    "E0131 06:00:00.000000       1 main.go:1] no luck",
    "E, [2026-01-31T06:00:00.000 #42] ERROR -- : no luck",
    "E: Unable to locate package",
    "npm ERR! code ENOENT",
    "npm error code ENOENT",
    "main.c:3:5: error: expected ';'",
    "src/a.ts:1:2 - error TS2322: no",
    "web-1  | ERROR no luck",
    "fatal: not a git repository",
    "panic: runtime error: index out of range",
    "Traceback (most recent call last):",
    "ZeroDivisionError: division by zero",
    "psycopg.errors.UniqueViolationError: duplicate key",
    'Exception in thread "main" java.lang.RuntimeException: no luck',
    "Caused by: java.io.IOException: no luck",
    "\u001b[1;31mERROR\u001b[0m no luck",
    "\u001b]0;title\u0007[\u001b[31merror\u001b[0m] no luck",
    "10%\r50%\rERROR: no luck",
    "\uFEFFERROR no luck",
    "   ERROR no luck\r",
  ],
  warn: [
    "WARNING careful",
    "[warn] careful",
    "Warning: careful",
    'level=warn msg="level=error"',
    '{"level":40,"msg":"careful"}',
    '{"levelno": 30, "msg": "careful"}',
    '{"level":4,"short_message":"careful"}',
    "2026-01-31 06:00:00.123  WARN 1 --- [main] c.e.Job : careful",
    "/opt/job/load.py:3: DeprecationWarning: careful",
    "(node:123) ExperimentalWarning: careful",
    "npm warn deprecated",
    "W0131 06:00:00.000000       1 main.go:1] careful",
  ],
  info: [
    "INFO hello",
    "INFO:     127.0.0.1:5000 - 200",
    '{"level":"info","msg":"{\\"level\\":\\"error\\"}"}',
    '{"level":30,"err":{"level":"error"}}',
    '{"level":"info"',
    'msg="set level=error" level=info',
    "[2026-01-31 06:00:00 +0000] [7] [INFO] Listening",
    "Jan 31 06:00:00 INFO hello",
  ],
  debug: ["DEBUG x", "[trace] x", "TRACE x", '{"level":20}', '{"a":{"level":"error"},"lvl":"debug"}', "level=debug"],
  none: [
    "",
    "hello",
    "finished without error",
    "Error count was 3",
    "Errors: 0",
    "3 ERROR lines found",
    "errors=0",
    "app --level=error",
    "error::Kind is a path",
    "bash: line 1: foo: command not found",
    '127.0.0.1 - - [31/Jan/2026:06:00:00] "GET /error: HTTP/1.1" 500',
    '"ERROR" is quoted',
    '{"message":"ERROR: quoted"}',
    '{"items":[{"level":"error"}]}',
    '{"level":null}',
    '{"level":12345}',
    "informational text",
    "debugging is fun",
    "12:00:00  Completed with 1 error",
  ],
};

describe("the level of a line", () => {
  test.for(Object.entries(LINES))("is %s", ([level, lines]) => {
    const wrong = lines.filter((line) => (levelOf(line) ?? "none") !== level);
    expect(wrong).toEqual([]);
  });

  const SIGNS = [" ", "\t", "\r", '"', "\\", "{", "}", "[", "]", "(", ")", ":", "=", ",", ".", "-", "|", "1", "T", "Z"];
  const line = fc.oneof(
    fc.constantFrom(...Object.values(LINES).flat()),
    fc.string({ unit: "binary", maxLength: 200 }),
    fc
      .array(fc.oneof(fc.constantFrom(...SIGNS, "ERROR", "level", "warn"), fc.string()), {
        maxLength: 40,
      })
      .map((parts) => parts.join("")),
  );

  test("is found or not, whatever the line is", () => {
    fc.assert(fc.property(line, (text) => [...LOG_LEVELS, undefined].includes(levelOf(text))));
  });

  test("is not changed by colours, wherever they are put", () => {
    const code = fc.constantFrom("\u001b[31m", "\u001b[0m", "\u001b[38;5;196m", "\u001b[K", "\u001b(B", "\u001b7");
    const cuts = fc.array(fc.tuple(fc.nat(200), code), { maxLength: 8 });
    fc.assert(
      fc.property(line, cuts, (given, places) => {
        const text = withoutAnsi(given).replaceAll("\u001b", "");
        const coloured = places
          .toSorted(([a], [b]) => b - a)
          .reduce((so, [at, put]) => {
            const place = Math.min(at, text.length);
            return so.slice(0, place) + put + so.slice(place);
          }, text);
        expect(withoutAnsi(coloured)).toBe(text);
        expect(levelOf(coloured)).toBe(levelOf(text));
      }),
    );
  });

  test("is decided by the beginning of the line", () => {
    fc.assert(
      fc.property(line, fc.string(), fc.string(), (head, one, other) => {
        const full = head.padEnd(HEAD_LENGTH, "x");
        expect(levelOf(full + one)).toBe(levelOf(full + other));
      }),
    );
  });

  test("goes on below with what goes on with the line, and with nothing else", () => {
    const below = (above: LogLevel | undefined, text: string): LogLevel | undefined => levelBelow(above, text);
    expect(below("error", '  File "load.py", line 3')).toBe("error");
    expect(below("error", "\u001b[2m    at run (load.ts:3)\u001b[0m")).toBe("error");
    expect(below("error", "}")).toBe("error");
    expect(below("error", "next step")).toBeUndefined();
    expect(below("error", "")).toBeUndefined();
    expect(below("error", "   ")).toBeUndefined();
    expect(below("error", "  DEBUG x")).toBe("debug");
    expect(below(undefined, "  x")).toBeUndefined();
  });

  test("that is not said counts as info", () => {
    expect(LOG_LEVELS.filter((least) => isAtLeast(undefined, least))).toEqual(["info", "debug"]);
    expect(LOG_LEVELS.filter((least) => isAtLeast("error", least))).toEqual([...LOG_LEVELS]);
    expect(LOG_LEVELS.filter((least) => isAtLeast("debug", least))).toEqual(["debug"]);
  });

  test.for<[string, (n: number) => string]>([
    ["one word", (n) => "A".repeat(n)],
    ["escapes", (n) => "\u001b]".repeat(n / 2)],
    ["half an escape", (n) => `\u001b[${"3;".repeat(n / 2)}`],
    ["returns", (n) => "\r".repeat(n)],
    ["spaces", (n) => " ".repeat(n)],
    ["brackets", (n) => "[".repeat(n)],
    ["JSON that opens and opens", (n) => '{"level":'.repeat(n / 9)],
    ["a JSON text without an end", (n) => `{"msg":"${"\\".repeat(n)}`],
    ["fields without an end", (n) => ' level="\\"'.repeat(n / 10)],
  ])("of a hundred million characters of %s takes no time worth telling", ([, hostile]) => {
    const text = hostile(100_000_000);
    // Joins the pieces that it was made of.
    expect(text.at(-1)).toBeDefined();
    const started = process.cpuUsage();
    for (let n = 0; n < 100; n++) levelOf(text);
    // Its own time, and not what other processes take.
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000);
  });
});
