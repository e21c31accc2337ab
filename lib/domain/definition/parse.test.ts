import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseDefinition } from "./parse.ts";

function problems(text: string): string[] {
  const result = parseDefinition(text, "x.yaml");
  return result.ok ? [] : result.problems.map((p) => `${p.line}:${p.column} ${p.message}`);
}

describe("a definition file", () => {
  test("becomes the canonical model, the same from YAML and JSON", () => {
    const yaml = parseDefinition(
      "id: a\ntasks:\n  - id: x\n    bash: echo hi\n  - id: y\n    dependsOn: [x]\n    fn: ./f.ts#go\n",
      "a.yaml",
    );
    const json = parseDefinition(
      '{"id":"a","tasks":[{"id":"x","bash":{"command":"echo hi"}},{"id":"y","dependsOn":["x"],"fn":"./f.ts#go"}]}',
      "a.json",
    );
    expect(yaml).toEqual(json);
    expect(yaml).toMatchObject({
      ok: true,
      spec: {
        id: "a",
        tasks: [
          { id: "x", type: "bash", config: { command: "echo hi" }, queue: "default", dependsOn: [] },
          { id: "y", type: "fn", config: { module: "f.ts", export: "go" } },
        ],
      },
    });
  });

  test("with mistakes tells each one with its line and column", () => {
    expect(problems("id: Bad Id\nowners: me\ntasks:\n  - id: x\n    dependOn: [y]\n    bash: 'true'\n")).toEqual([
      expect.stringMatching(/^1:5 id: a DAG id has/),
      '2:1 unknown key "owners"; did you mean "owner"?',
      '5:5 task "x": unknown key "dependOn"; did you mean "dependsOn"?',
    ]);
    expect(problems("id: a\ntasks:\n  - id: x\n    dependsOn: [nope]\n    bash: 'true'\n")).toEqual([
      '4:17 task "x" depends on "nope", which is not a task of this DAG',
    ]);
    expect(problems("id: a\ntasks:\n  - id: x\n  - id: y\n    bash: 'true'\n    fn: ./a.ts#b\n")).toEqual([
      '3:5 task "x": a task has exactly one of the keys bash, python, fn, http, sql, docker, noop',
      '4:5 task "y": a task has exactly one of the keys bash, python, fn, http, sql, docker, noop',
    ]);
    expect(problems("id: a\nschedule: { evry: 5m }\ntasks: [{ id: x, noop: {} }]\n")).toContain(
      '2:13 schedule: unknown key "evry"; did you mean "every"?',
    );
    expect(problems("id: a\nschedule: { evry: 5m }\ntasks: [{ id: x, noop: {} }]\n").join()).not.toContain("cron");
    expect(problems("id: a\nid: b\n")[0]).toMatch(/^2:1 .*unique/);
    expect(problems("a: [")[0]).toMatch(/^1:/);
    expect(problems("")[0]).toMatch(/^1:1 /);
  });

  test("with a program takes its text or a file, and every other choice that excludes another", () => {
    const told = (executor: string): string[] => problems(`id: a\ntasks:\n  - id: x\n    ${executor}\n`);
    const good = [
      "bash: { script: ./load.sh, args: ['${{ run.id }}'], cwd: '/data/${{ run.id }}', strict: false, failOn: [3] }",
      "bash: { command: 'true', cwd: build/out, skipOn: [3], failOn: [4] }",
      "python: { file: ./load.py, venv: '${{ run.id }}' }",
      "python: { code: pass, interpreter: /usr/bin/pypy3, cwd: /data }",
    ];
    expect(good.map(told)).toEqual(good.map(() => []));
    const wrong: [string, string][] = [
      ["bash: {}", "bash takes exactly one of command, script"],
      ["bash: { command: 'true', script: ./a.sh }", "bash takes exactly one of command, script"],
      ["bash: { scrpit: ./a.sh }", 'unknown key "scrpit"; did you mean "script"?'],
      ["bash: { script: /a.sh }", "must be a path relative to the DAG's own file, like ./load.sh"],
      [
        "bash: { script: '${{ run.id }}' }",
        "an expression cannot choose the file, which is read when the DAG is loaded",
      ],
      ["bash: { command: a, args: [b] }", "args are those of a script; a command reads variables, which env sets"],
      ["bash: { script: a, skipOn: [3], failOn: [3] }", "an exit code stands in skipOn or in failOn, not in both"],
      ["bash: { script: a, cwd: ../b }", "must be an absolute path, or a folder of the attempt's own without .. in it"],
      ["bash: { script: a, strict: yes }", 'expected true or false, found "yes"; write true'],
      ["python: { code: a, file: b }", "python takes exactly one of code, file"],
      ["python: { file: a, venv: b }", "must be an absolute path, like /opt/venvs/etl"],
      [
        "python: { file: a, venv: /b, interpreter: python3 }",
        "python takes an interpreter or a venv, not both: a venv has its own interpreter",
      ],
    ];
    for (const [executor, message] of wrong) expect(told(executor)).toEqual([expect.stringContaining(message)]);
    const visible = [
      "bash: { script: a, cwd: '/${{ secrets.S }}' }",
      "bash: { script: a, args: ['${{ secrets.S }}'] }",
      "python: { file: a, venv: '/${{ secrets.S }}' }",
    ];
    for (const executor of visible)
      expect(told(executor)).toEqual([expect.stringContaining("a secret cannot stand in")]);
  });

  test("with a query takes values as params only, and no password", () => {
    const told = (sql: string): string[] => problems(`id: a\ntasks:\n  - id: x\n    sql: ${sql}\n`);
    const good = [
      '{ connection: "${{ secrets.W }}", query: select 1 }',
      '{ connection: "postgres://u:${{ secrets.PW }}@h/d", query: select $1, params: ["${{ run.id }}", 1, [a], null] }',
      "{ connection: postgres://reader@db.internal:5432/warehouse?sslmode=verify-full, query: select 1, maxRows: 5 }",
    ];
    for (const sql of good) expect(told(sql)).toEqual([]);
    expect(told('{ connection: "${{ secrets.W }}", query: "select ${{ run.id }}" }')).toEqual([
      expect.stringMatching(
        /^4:.* task "x": sql.query: an expression cannot stand in a query, .* write \$1 in its place/,
      ),
    ]);
    expect(told('{ connection: "${{ run.id }}", query: select 1 }')).toEqual([
      expect.stringMatching(
        /^4:.* task "x": sql.connection: an address that is a value .* must be a secret; put the whole/,
      ),
    ]);
    expect(told("{ connection: db.internal, query: select 1 }")).toEqual([
      expect.stringMatching(
        /sql.connection: this is no address of a database, like postgres:.*; put the whole address/,
      ),
    ]);
    expect(told('{ connection: "${{ secrets.W }}", query: "select $1", params: [{ a: ["x\\0"] }] }')).toEqual([
      expect.stringMatching(/sql.params\[0\].a\[0\]: holds a NUL character/),
    ]);
    expect(told("select 1")).toEqual([expect.stringMatching(/sql: expected a mapping, found "select 1"/)]);
  });

  test.each([
    "postgres://etl:hunter2@db.internal/w",
    "postgres://etl:hun/ter2?#@db.internal/w",
    "postgresql://etl:hunter2${{ secrets.REST }}@db.internal/w",
    "postgres://db.internal/w?user=etl&password=hunter2",
    "postgres://etl:${{ params.hunter2 }}@db.internal/w",
  ])("with the password in %s is refused, and does not show it", (connection) => {
    const text = `id: a\nparams: { hunter2: {} }\ntasks: [{ id: x, sql: { query: select 1, connection: "${connection}" } }]\n`;
    const result = parseDefinition(text, "x.yaml");
    expect(result.ok).toBe(false);
    expect(JSON.stringify(result)).toMatch(/holds a password, .* write connection: \$\{\{ secrets.NAME \}\}/);
    expect(JSON.stringify(result)).not.toContain("ter2");
  });

  test("with a container takes no expression in the text of a shell, no mount over its files, and no password", () => {
    const told = (docker: string): string[] =>
      problems(`id: a\nparams: { x: {} }\ntasks:\n  - id: x\n    docker: ${docker}\n`);
    const good = [
      "alpine:3.22",
      '{ image: "alpine:${{ params.x }}", command: [echo, "${{ params.x }}", -c, "${{ params.x }}"] }',
      '{ image: a, command: [sh, -ec, "echo $X"], mounts: [{ source: /srv, target: /sluice-data, readOnly: false }] }',
      '{ image: a, network: my_net.1, auth: { username: u, password: "${{ secrets.PW }}" }, capabilities: [CHOWN] }',
    ];
    for (const docker of good) expect(told(docker)).toEqual([]);
    const code = /^5:.* task "x": docker.command: an expression cannot stand in the text of a shell/;
    for (const words of [
      'command: [sh, -c, "echo ${{ params.x }}"]',
      'command: [/bin/bash, -e, -uc, "${{ params.x }}"]',
      'entrypoint: [sh, -c], command: ["echo ${{ params.x }}"]',
    ])
      expect(told(`{ image: a, ${words} }`)).toEqual([expect.stringMatching(code)]);
    for (const target of ["data", "/", "/sluice", "/./sluice/x", "/a/../b"])
      expect(told(`{ image: a, mounts: [{ source: /srv, target: ${target} }] }`)).toEqual([
        expect.stringMatching(/docker.mounts\[0\].target: must be a path like \/data, and not/),
      ]);
    for (const network of ["host", '"container:x"', '""'])
      expect(told(`{ image: a, network: ${network} }`)).toEqual([
        expect.stringMatching(/docker.network: is none, bridge or the name of a network, but not host/),
      ]);
    expect(told("{ image: a, capabilities: [SYS_ADMIN] }")).toEqual([
      expect.stringMatching(/docker.capabilities\[0\]/),
    ]);
    expect(told("{ image: a, privileged: true }")).toEqual([expect.stringMatching(/unknown key "privileged"/)]);
    expect(told('{ image: a, command: ["${{ secrets.PW }}"] }')).toEqual([
      expect.stringMatching(/a secret cannot stand in "command", .* put it into env/),
    ]);
    for (const password of ["hunter2", "${{ params.x }}", "hunter2${{ secrets.PW }}"]) {
      const [problem, ...more] = told(`{ image: a, auth: { username: u, password: "${password}" } }`);
      expect(more).toEqual([]);
      expect(problem).toMatch(/docker.auth.password: .* write password: \$\{\{ secrets.NAME \}\}/);
      expect(problem).not.toContain("hunter2");
    }
  });

  test("shows no password of an address in the line of another mistake", () => {
    const result = parseDefinition(
      "id: a\ntasks: [{ id: x, http: { url: https://u:hunter2@h/p }, retrys: 1 }]\n",
      "x.yaml",
    );
    const snippet = result.ok ? "" : result.problems[0]!.snippet!;
    expect(snippet).toContain("https://u:*******@h/p");
    expect(snippet.split("\n")[0]!.indexOf("retrys")).toBe(snippet.split("\n")[1]!.indexOf("^"));
  });

  test("made to harm is refused quickly: alias bombs, NUL, merge keys, size", () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${Array.from(
      { length: 12 },
      (_, n) =>
        `k${n}: &k${n} [${Array<string>(9)
          .fill(n === 0 ? "*a" : `*k${n - 1}`)
          .join(",")}]`,
    ).join("\n")}\n`;
    expect(problems(bomb)[0]).toMatch(/alias/i);
    expect(problems('id: a\ntasks:\n  - id: x\n    bash: "echo \\0"\n')[0]).toMatch(/NUL/);
    expect(problems(`id: a\n#${"x".repeat(5_000_001)}`)[0]).toMatch(/at most 4194304/);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(problems("id: a\n__proto__: {polluted: true}\ntasks: []\n").length).toBeGreaterThan(0);
  });

  test("of any text never throws", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(..."ab:-[]{}&*!|>'\"#,\n \t0%@`?".split("")), maxLength: 60 }),
        (text) => {
          const result = parseDefinition(text, "x.yaml");
          if (!result.ok) expect(result.problems.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
