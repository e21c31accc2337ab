import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compactSpec, DagSpec, specHash } from "../model/dag.ts";
import { PRIORITIES, TRIGGER_RULES } from "../model/task.ts";
import { HTTP_METHODS } from "../model/task-types.ts";
import { parseDefinition } from "./parse.ts";
import { toJson, toYaml } from "./to-yaml.ts";

/** Random specs of every type and with every field, through the schema, so that defaults are in them. */
const id = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,20}$/);
const text = fc
  .string({ unit: "grapheme", maxLength: 40 })
  .filter((given) => !given.includes("\0") && !given.includes("${{"));
const line = text.filter((given) => given.length > 0);
const duration = fc.constantFrom("250ms", "30s", "5m", "1h30m", "PT2H", "P1D", "2d3h");
const env = fc.dictionary(fc.stringMatching(/^[A-Z][A-Z0-9_]{0,8}$/), text, { maxKeys: 3 });
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined });
const http = fc
  .record({
    url: fc.webUrl(),
    method: fc.constantFrom(...HTTP_METHODS),
    headers: fc.dictionary(fc.stringMatching(/^[A-Za-z-]{1,12}$/), text, { maxKeys: 2 }),
    json: maybe(
      fc.jsonValue({ maxDepth: 3 }).map((given) => JSON.parse(JSON.stringify(given).replaceAll("${{", "")) as unknown),
    ),
    expect: fc.array(fc.integer({ min: 100, max: 599 }), { maxLength: 3 }),
    responseTimeout: duration,
  })
  .filter(({ json }) => !JSON.stringify(json ?? null).includes("__proto__"));

const args = fc.array(text, { maxLength: 2 });
const file = id.map((name) => `./${name}.sh`);
const ofProcess = {
  cwd: maybe(fc.constantFrom("/data", "build/out")),
  skipOn: fc.array(fc.integer({ min: 1, max: 99 }), { maxLength: 2 }),
  failOn: fc.array(fc.integer({ min: 100, max: 255 }), { maxLength: 2 }),
};

const executor = fc.oneof(
  fc.record({
    type: fc.constant("bash"),
    config: fc.oneof(
      fc.record({ command: line, ...ofProcess, strict: fc.boolean() }),
      fc.record({ script: file, args, ...ofProcess, strict: fc.boolean() }),
    ),
  }),
  fc.record({
    type: fc.constant("python"),
    config: fc.oneof(
      fc.record({ code: line, args, ...ofProcess, interpreter: maybe(fc.constantFrom("python3", "/usr/bin/pypy")) }),
      fc.record({ file, args, ...ofProcess, venv: maybe(fc.constant("/opt/venvs/a")) }),
    ),
  }),
  fc.record({ type: fc.constant("fn"), config: fc.record({ module: id.map((name) => `${name}.ts`), export: id }) }),
  fc.record({ type: fc.constant("http"), config: http }),
  fc.record({
    type: fc.constant("sql"),
    config: fc.record({
      connection: fc.constantFrom("${{ secrets.W }}", "postgres://u@h/d"),
      query: line,
      params: fc.array(fc.oneof(text, fc.integer(), fc.constant(null), fc.array(text, { maxLength: 2 })), {
        maxLength: 3,
      }),
      maxRows: fc.integer({ min: 1, max: 2_000 }),
    }),
  }),
  fc.record({
    type: fc.constant("docker"),
    config: fc.record(
      {
        image: line,
        command: fc.array(text, { maxLength: 2 }),
        entrypoint: fc.array(text, { minLength: 1, maxLength: 2 }),
        user: line,
        workdir: fc.constantFrom("/", "/data"),
        mounts: fc.array(fc.record({ source: line, target: fc.constant("/in"), readOnly: fc.boolean() }), {
          maxLength: 2,
        }),
        network: fc.constantFrom("none", "bridge", "etl"),
        pull: fc.constantFrom("missing", "always", "never"),
        auth: fc.record({ username: line, password: fc.constant("${{ secrets.W }}") }),
        capabilities: fc.constantFrom([], ["CHOWN"]),
      },
      { requiredKeys: ["image"] },
    ),
  }),
  fc.record({ type: fc.constant("noop"), config: fc.constant({}) }),
);

const options = fc.record({
  name: maybe(line),
  description: maybe(text),
  group: maybe(fc.constantFrom("a", "a/b")),
  condition: maybe(fc.constant("${{ task.attempt == 1 }}")),
  triggerRule: fc.constantFrom(...TRIGGER_RULES),
  retries: fc.oneof(
    fc.integer({ min: 0, max: 9 }),
    fc.record({
      max: fc.integer({ min: 0, max: 9 }),
      backoff: fc.constantFrom("fixed", "exponential"),
      delay: duration,
      jitter: fc.boolean(),
      retryOn: maybe(
        fc.record({
          exitCodes: maybe(fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 3 })),
          errors: maybe(fc.constant(["TIMEOUT"])),
        }),
      ),
    }),
  ),
  timeout: duration,
  sla: maybe(duration),
  pool: maybe(id),
  slots: fc.integer({ min: 1, max: 5 }),
  queue: id,
  priority: maybe(fc.constantFrom(...PRIORITIES)),
  resources: maybe(fc.record({ cpu: maybe(fc.constantFrom(0.5, 2)), memory: maybe(fc.constantFrom("512Mi", "2Gi")) })),
  env,
  uses: fc.array(id, { maxLength: 2 }),
  callbacks: fc.record({ onFailure: fc.array(fc.record({ http }), { maxLength: 1 }) }),
});

const PARAMS = { limit: { type: "integer", default: 10, minimum: 1 }, day: { type: "string", format: "date" } };

const specs = fc
  .record({
    dag: fc.record({
      id,
      name: maybe(line),
      description: maybe(text),
      owner: maybe(line),
      tags: fc.array(line, { maxLength: 3 }),
      schedule: fc.constantFrom([], "@daily", "0 9 * * 1-5", { every: "15m" }, [
        { cron: "@hourly", jitter: "1m" },
        { every: "1d", anchor: "2026-01-01", timezone: "Asia/Kathmandu", calendar: { only: ["holidays"] } },
        {
          cron: "0 9 * * *",
          calendar: { except: ["weekends", "holidays"], shift: "next" },
          blackout: { windows: [{ from: "22:00", to: "06:00", days: ["fri"] }], action: "delay" },
        },
      ]),
      calendars: fc.constant({ holidays: { weekdays: ["sun"], dates: ["12-25 Christmas Day", "2026-05-14"] } }),
      timezone: fc.constantFrom("UTC", "Europe/Berlin"),
      startDate: maybe(fc.constantFrom("2026-01-01", "2026-03-29T02:30:00+01:00")),
      endDate: maybe(fc.constant("2030-01-01")),
      catchup: fc.constantFrom("none", "latest", "all", { policy: "all", max: 7 }),
      params: fc.constantFrom({}, PARAMS),
      limits: fc.record({
        maxActiveRuns: fc.integer({ min: 1, max: 99 }),
        maxActiveTasks: maybe(fc.integer({ min: 1, max: 99 })),
      }),
      priority: fc.constantFrom(...PRIORITIES),
      sla: maybe(duration),
    }),
    tasks: fc.array(fc.tuple(options, executor, fc.nat()), { minLength: 1, maxLength: 6 }),
  })
  .map(({ dag, tasks }) =>
    DagSpec.parse({
      ...dag,
      // What a schedule starts is given no params.
      ...(dag.params === PARAMS ? { schedule: [] } : {}),
      tasks: tasks.map(([given, run, roll], index) => ({
        ...given,
        ...run,
        id: `t${index}`,
        dependsOn: index === 0 ? [] : [`t${roll % index}`],
      })),
    }),
  );

describe("the model and its faces", () => {
  test("YAML and JSON say exactly what the model says", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        for (const face of [toYaml(spec), toJson(spec)]) {
          const parsed = parseDefinition(face, "x.yaml");
          expect(parsed).toEqual({ ok: true, spec });
          expect(parsed.ok && specHash(parsed.spec)).toBe(specHash(spec));
        }
      }),
      { numRuns: 300 },
    );
  });

  test("what is stored gives the model back, and leaves out what is the default", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        const stored = JSON.parse(JSON.stringify(compactSpec(spec))) as unknown;
        expect(DagSpec.parse(stored)).toEqual(spec);
      }),
    );
    const small = DagSpec.parse({ id: "a", tasks: [{ id: "x", type: "bash", config: { command: "true" } }] });
    expect(compactSpec(small)).toEqual({ id: "a", tasks: [{ id: "x", type: "bash", config: { command: "true" } }] });
    expect(toYaml(small)).toBe('id: a\ntasks:\n  - id: x\n    bash: "true"\n');
  });
});
