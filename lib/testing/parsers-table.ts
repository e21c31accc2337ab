import { readJsonBody } from "../api/body.ts";
import { parseBody, parseHeaders, parseQuery } from "../api/input.ts";
import { logDecoder } from "../api/log-decoder.ts";
import { operations } from "../contract/index.ts";
import { parseDefinition } from "../domain/definition/parse.ts";
import { rangeOf } from "../domain/backfill/range.ts";
import { AppError } from "../domain/errors.ts";
import { checkTemplate } from "../domain/expressions/check.ts";
import { evaluateExpression, type ExpressionValues } from "../domain/expressions/evaluate.ts";
import { isId } from "../domain/ids.ts";
import { isIpRange } from "../domain/ip-range.ts";
import { withoutAnsi } from "../domain/log-lines/ansi.ts";
import { levelFilter } from "../domain/log-lines/level-filter.ts";
import { levelBelow } from "../domain/log-lines/level.ts";
import { parseDuration } from "../domain/model/duration.ts";
import { readFnReference } from "../domain/model/fn-reference.ts";
import { GroupPath } from "../domain/model/names.ts";
import { dateOfText } from "../domain/schedule/calendar-date.ts";
import { parseCron } from "../domain/schedule/cron/parse-cron.ts";
import { readIcs } from "../domain/schedule/ics.ts";
import { zoneProblem } from "../domain/schedule/zone-name.ts";
import { secretForms } from "../domain/secrets/forms.ts";
import { storableProblems } from "../domain/storable.ts";
import { storableXcoms, storedJson } from "../domain/xcom.ts";
import { readSettings } from "../env.ts";
import { renderLogLine } from "../obs/log-line.ts";
import { prefixedLines } from "../../cli/prefixed-lines.ts";
import { parseCounted } from "../../worker/frames/counted-json.ts";
import { createFrameReader, frame } from "../../worker/frames/frames.ts";
import { RESULT_LIMITS } from "../../worker/functions/protocol.ts";
import { DAG_FILE_SHAPES, filled, type Shape } from "./dag-file-shapes.ts";

/** What reads text or data that others wrote, and what is hard for it. */
export type Parser = {
  /** Where its own patterns and loops are. */
  modules: readonly string[];
  /** Returns or throws; a refusal is as good as a result. */
  read: (text: string) => unknown;
  shapes: Record<string, Shape>;
};

const same =
  (piece: string): Shape =>
  (length) =>
    piece.repeat(Math.ceil(length / piece.length));
const after =
  (head: string, piece: string, end = ""): Shape =>
  (length) =>
    head + piece.repeat(Math.ceil(length / piece.length)) + end;
const each = (...pieces: string[]): Record<string, Shape> =>
  Object.fromEntries(pieces.map((piece) => [JSON.stringify(piece), same(piece)]));

const JSON_SHAPES: Record<string, Shape> = {
  "escaped quotes": after('"', '\\"'),
  "text without an end": after('"', "a"),
  quotes: same('"'),
  numbers: after("[1", ",1", "]"),
  "empty objects": after("[{}", ",{}", "]"),
  keys: (length) => `{${filled(length, (n) => `"k${n}":1,`)}"z":1}`,
  "one key": after("{", '"k":1,', '"z":1}'),
  brackets: same("["),
  "nested objects": same('{"a":'),
  spaces: after("[", " ", "]"),
  digits: after("", "1"),
  "unicode escapes": after('"', "\\u0061", '"'),
  "NUL characters": after('["\\u0000"', ',"\\u0000"', "]"),
};

const LINES = [
  "a",
  " ",
  "\t",
  "\r",
  "\n",
  "[",
  "]",
  '"',
  "{",
  "=",
  "level=",
  "level=a ",
  'k="',
  "a.b ",
  "2026-",
  "- ",
  "| ",
];
const ESCAPES = [
  "\u001b",
  "\u001b[",
  "\u001b[0",
  "\u001b[0m",
  "\u001b]",
  "\u001b]0;a",
  "\u001bP",
  "\u001bP\u001b",
  "\u001b ",
  "\u001b]\u001b\\",
];

const body = (text: string): Request =>
  new Request("http://localhost/", { method: "POST", body: text, headers: { "content-type": "application/json" } });

/** In pieces of so many bytes, as pipes and sockets cut them. */
function inPieces(text: string, size: number, take: (piece: Buffer) => unknown): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) take(bytes.subarray(at, at + size));
}

const value = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

const times = {
  logicalDate: "2026-01-01T00:00:00Z",
  intervalStart: "2026-01-01T00:00:00Z",
  intervalEnd: "2026-01-01T00:00:00Z",
};
const NO_VALUES: ExpressionValues = {
  params: {},
  outputs: {},
  xcoms: {},
  run: { id: "1", dagId: "a", triggerKind: "manual", ...times },
  task: { id: "t", attempt: 1, attemptId: "a" },
};

const setting =
  (name: string) =>
  (text: string): unknown =>
    readSettings({ [name]: text });

export const PARSERS: Record<string, Parser> = {
  "DAG files": {
    modules: [
      "caps",
      "connection-problems",
      "describe-value",
      "duplicate-keys",
      "expression-problems",
      "issue-problems",
      "json-text",
      "parse",
      "places",
      "problem",
      "to-spec",
      "yaml-errors",
    ].map((name) => `lib/domain/definition/${name}.ts`),
    read: (text) => parseDefinition(text, "a.yaml"),
    shapes: DAG_FILE_SHAPES,
  },
  queries: {
    modules: ["lib/api/input.ts"],
    read: (text) => parseQuery(operations.listDagRuns, text),
    shapes: {
      ...each("a&", "a=b&", "&", "=", "%", "%41", "+", "a=%00&"),
      keys: (length) => filled(length, (n) => `k${n}&`),
    },
  },
  bodies: { modules: ["lib/api/body.ts"], read: (text) => readJsonBody(body(text)), shapes: JSON_SHAPES },
  "what is in bodies": {
    modules: ["lib/api/input.ts", "lib/domain/storable.ts"],
    read: (text) => parseBody(operations.triggerDag, { conf: { a: value(text) } }),
    shapes: JSON_SHAPES,
  },
  "what is wrong in bodies": {
    modules: ["lib/api/input.ts"],
    read: (text) => parseBody(operations.triggerDag, value(text)),
    shapes: JSON_SHAPES,
  },
  headers: {
    modules: ["lib/api/input.ts"],
    read: (text) => parseHeaders(operations.readTaskLog, new Headers({ "last-event-id": text })),
    shapes: each("1", "a", " 1"),
  },
  "texts with expressions": {
    modules: ["lib/domain/expressions/template.ts", "lib/domain/expressions/check.ts"],
    read: (text) => checkTemplate(text, { params: new Set(), outputs: new Set() }),
    shapes: each("${{", "$${{", "${{1}}", "${{ '", "${{ }", "${{ {", "}}", "${{ 1 +", '${{ \\"', "$"),
  },
  "texts in expressions": {
    modules: ["lib/domain/expressions/functions.ts", "lib/domain/expressions/costs.ts"],
    read: (text) =>
      [
        "fromJson(params.a)",
        "shellQuote(params.a)",
        "duration(params.a)",
        "timestamp(params.a)",
        "double(params.a)",
        "int(params.a)",
        "bool(params.a)",
        "size(params.a)",
        "params.a.split(',')",
        "params.a.trim()",
        "params.a.lowerAscii()",
        "params.a.contains('aaaaaaab')",
        "bytes(params.a).base64()",
      ].map((source) => evaluateExpression(source, { ...NO_VALUES, params: { a: text } })),
    shapes: each("1", "a", "'", ",", " "),
  },
  "secrets and their forms": {
    modules: ["lib/domain/secrets/forms.ts"],
    read: secretForms,
    shapes: { ...each("a", "\n", "aaaaaaaa\n", " ", "%41"), url: after("postgres://a:", "b@") },
  },
  "ranges of dates": {
    modules: ["lib/domain/backfill/range.ts"],
    read: (text) => rangeOf(text, text, "UTC"),
    shapes: { ...each(" ", "1", "2026-01-01 "), fraction: after("2026-01-01T00:00:00.", "1") },
  },
  ids: { modules: ["lib/domain/ids.ts"], read: isId, shapes: each("1", "0") },
  "cron expressions": {
    modules: ["lib/domain/schedule/cron/parse-cron.ts", "lib/domain/schedule/cron/cron-item.ts"],
    read: parseCron,
    shapes: each("* ", "1,", "*/2,", "L", "@", " ", "1-", "a#1,"),
  },
  durations: {
    modules: ["lib/domain/model/duration.ts"],
    read: parseDuration,
    shapes: { ...each("1", "1d", "1s", "P", "1.", "0"), "ISO digits": after("P", "1"), "ISO time": after("PT", "1.") },
  },
  "time zones": {
    modules: ["lib/domain/schedule/zone-name.ts"],
    read: zoneProblem,
    shapes: each("a", "Europe/", "+1", "/", " "),
  },
  dates: {
    modules: ["lib/domain/schedule/calendar-date.ts"],
    read: dateOfText,
    shapes: { ...each(" ", "1", "12-24 "), name: after("12-24", " ", "x") },
  },
  calendars: {
    modules: ["lib/domain/schedule/ics.ts"],
    read: readIcs,
    shapes: {
      ...each("BEGIN:VCALENDAR\n", "\r", " ", '"'),
      events: after("BEGIN:VCALENDAR\n", "BEGIN:VEVENT\nDTSTART:20260101\nEND:VEVENT\n"),
      "fields of one event": after("BEGIN:VCALENDAR\nBEGIN:VEVENT\n", "A:1\n"),
      "a line of many": after("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\nSUMMARY:", "a\n "),
      "a name of blanks": after("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\nSUMMARY:a", " ", "b"),
      "a name of escapes": after("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\nSUMMARY:", "\\"),
      components: after("BEGIN:VCALENDAR\n", "BEGIN:X\n"),
      parts: after("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\nRRULE:", "FREQ=YEARLY;"),
    },
  },
  "escape sequences": { modules: ["lib/domain/log-lines/ansi.ts"], read: withoutAnsi, shapes: each(...ESCAPES) },
  "levels of lines": {
    modules: ["level", "fields", "prefix", "level-words"].map((name) => `lib/domain/log-lines/${name}.ts`),
    read: (text) => levelBelow("info", text),
    shapes: each(...LINES, ...ESCAPES),
  },
  "lines in pieces": {
    modules: ["lib/domain/log-lines/level-filter.ts"],
    read(text) {
      const filter = levelFilter("warn");
      inPieces(text, 64, (piece) => filter.write("stdout", piece));
      return filter.end();
    },
    shapes: each("a", "\n", "ERROR\n", "é", "{"),
  },
  "characters in pieces": {
    modules: ["lib/api/log-decoder.ts"],
    read(text) {
      const decoder = logDecoder();
      inPieces(text, 7, (chunk) => decoder.text({ seq: 1, stream: "stdout", at: "", chunk }));
      return decoder.end();
    },
    shapes: each("a", "é", "🙂"),
  },
  "lines of several tasks": {
    modules: ["cli/prefixed-lines.ts"],
    read(text) {
      const lines = prefixedLines(4, () => undefined);
      inPieces(text, 64, (piece) => lines.add("a", "stdout", piece));
      lines.end("a");
    },
    shapes: each("a", "\n", "é"),
  },
  "lines of our own log": {
    modules: ["lib/obs/log-line.ts"],
    read: (text) => renderLogLine(text, { color: false }),
    shapes: JSON_SHAPES,
  },
  "outputs of tasks": {
    modules: ["lib/domain/xcom.ts", "lib/domain/output.ts", "lib/domain/storable.ts"],
    read: (text) => [storableXcoms(value(text), { a: value(text) }), storableProblems(value(text))],
    shapes: JSON_SHAPES,
  },
  "keys in the order of the database": { modules: ["lib/domain/xcom.ts"], read: storedJson, shapes: JSON_SHAPES },
  "results of functions": {
    modules: ["worker/frames/counted-json.ts"],
    read: (text) => parseCounted(Buffer.from(text), RESULT_LIMITS),
    shapes: JSON_SHAPES,
  },
  frames: {
    modules: ["worker/frames/frames.ts"],
    read(text) {
      const take = createFrameReader({ A: 2 ** 30 }, () => undefined);
      inPieces(frame("A", 1, Buffer.from(text)).toString("latin1"), 64, take);
    },
    shapes: {
      ...each("a"),
      "small ones": (length) =>
        Buffer.concat(Array.from({ length: length / 16 }, () => frame("A", 1, Buffer.alloc(7)))).toString("latin1"),
    },
  },
  "names of groups": {
    modules: ["lib/domain/model/names.ts"],
    read: (text) => GroupPath.safeParse(text),
    shapes: each("a", "a/", "/", "a_"),
  },
  functions: {
    modules: ["lib/domain/model/fn-reference.ts"],
    read: readFnReference,
    shapes: each("./", "#", "a", "../"),
  },
  addresses: { modules: ["lib/domain/ip-range.ts"], read: isIpRange, shapes: each("1.", ":", "1", "/") },
  settings: {
    modules: ["lib/env.ts"],
    read: (text) =>
      [
        "SLUICE_DOCKER_HOST",
        "SLUICE_DOCKER_MOUNTS",
        "SLUICE_HTTP_ALLOW",
        "SLUICE_TRUSTED_PROXIES",
        "SLUICE_TASK_USER",
        "SLUICE_URL",
        "SLUICE_QUEUES",
        "SLUICE_PLUGINS",
        "SLUICE_MEMORY",
        "SLUICE_PORT",
      ].map((name) => setting(name)(text)),
    shapes: each("a", "1", ",", "a,", "/a:rw,", " ", "10.0.0.0/8,"),
  },
};

/** What has a pattern or cuts a text, and reads none of others: with the reason. */
export const NO_PARSERS: Readonly<Record<string, string>> = {
  "lib/domain/expressions/escape-payloads.ts": "texts for a test",
  "lib/domain/model/docker-config.ts": "read with the DAG files",
  "lib/domain/model/resources.ts": "read with the DAG files",
  "lib/domain/model/schedule.ts": "read with the DAG files",
  "lib/domain/secrets/characters.ts": "secrets, which an operator writes; what is masked has a test of its own",
  "lib/domain/secrets/gaps.ts": "secrets, which an operator writes; what is masked has a test of its own",
  "lib/domain/schedule/regions.ts": "times of a day that the model has checked",
  "lib/domain/schedule/words.ts": "cron expressions of at most 512 characters",
  "lib/domain/schedule/zone.ts": "what Intl says",
};

/** A refusal is a result; anything else that is thrown is a fault of the parser. */
export async function readBy({ read }: Parser, text: string): Promise<void> {
  try {
    await read(text);
  } catch (error) {
    const isRefusal = error instanceof AppError || error instanceof SyntaxError || error instanceof Error;
    if (!isRefusal || error instanceof RangeError) throw error;
  }
}
