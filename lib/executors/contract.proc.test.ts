import { expect } from "vitest";
import { attemptTools } from "#lib/testing/attempts.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { executorContract, type Scenes, stillThere } from "#lib/testing/executor-contract.ts";
import { testWorld } from "#lib/testing/executor-world.ts";
import { isRunning } from "#lib/testing/processes.ts";

const database = testDatabase();
const attempts = attemptTools(database, ["docs/plugins/chat.ts"]);
const world = testWorld(database);

const LINES = Array.from({ length: 300 }, (_, n) => `line ${n}`);
const TOKEN = "${{ secrets.TOKEN }}";
const env = { TOKEN };

/** Hanging programs say which processes they are. */
const hanging = {
  begun: ({ logged }: { logged(pattern: RegExp): Promise<unknown> }) => logged(/begun \d+ \d+\n/),
  left: (log: string) =>
    stillThere((/begun (\d+) (\d+)\n/.exec(log) ?? []).slice(1).map(Number), (pid) => isRunning(pid)),
};

/** So do hanging requests, by their connections. */
const requesting = {
  begun: ({ world: { nextRequest } }: { world: typeof world }) => nextRequest("/hang"),
  left: async () => {
    await world.noConnections();
    return [];
  },
};

const bash: Scenes = {
  succeeds: () => ({ task: { bash: `echo '{"n": 1}' > "$SLUICE_OUTPUT"` }, output: { n: 1 } }),
  fails: () => ({ task: { bash: "exit 3" }, reason: "EXIT", error: /^the command ended with exit code 3$/ }),
  hangs: () => ({ task: { bash: `trap "" TERM; sleep 600 & echo "begun $$ $!"; wait` }, ...hanging }),
  shrugs: () => ({ task: { bash: `trap "exit 0" TERM; echo 1 > "$SLUICE_OUTPUT"; sleep 600 & wait` } }),
  tooLarge: () => ({ task: { bash: `head -c 2000000 /dev/zero > "$SLUICE_OUTPUT"` } }),
  tells: () => ({ task: { bash: `echo "$TOKEN"; echo "\\"$TOKEN\\"" > "$SLUICE_OUTPUT"`, env } }),
  tellsAsItFails: () => ({ task: { bash: `echo "$TOKEN" >&2; echo "$TOKEN" > "$SLUICE_OUTPUT"; exit 1`, env } }),
  logs: () => ({ task: { bash: `for n in {0..299}; do echo "line $n"; done` }, lines: LINES }),
  keyed: () => ({ task: { bash: `echo "\\"$SLUICE_ATTEMPT_ID\\"" > "$SLUICE_OUTPUT"` }, key: ({ output }) => output }),
  refused: [
    ['bash: ""', /^4: task "t": bash.*at least|>=1|must/],
    ["bash: { comand: x }", /^4: task "t": bash: unknown key "comand"; did you mean "command"\?/],
    ["bash: { command: x, skipOn: [zero] }", /^4: task "t": bash.skipOn\[0\]: expected a/],
  ],
};

const python: Scenes = {
  succeeds: () => ({ task: { python: "import sluice\nsluice.output({'n': 1})" }, output: { n: 1 } }),
  fails: () => ({
    task: { python: "raise SystemExit(3)" },
    reason: "EXIT",
    error: /^the program ended with exit code 3$/,
  }),
  hangs: () => ({
    task: {
      python: `import os, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("begun", os.getpid(), subprocess.Popen(["sleep", "600"]).pid)
time.sleep(600)`,
    },
    ...hanging,
  }),
  shrugs: () => ({
    task: {
      python: `import signal, sluice, time
signal.signal(signal.SIGTERM, lambda *_: exit(0))
sluice.output(1)
time.sleep(600)`,
    },
  }),
  tooLarge: () => ({ task: { python: "import sluice\nsluice.output('x' * 2000000)" } }),
  tells: () => ({
    task: { python: "import os, sluice\nprint(os.environ['TOKEN'])\nsluice.output(os.environ['TOKEN'])", env },
  }),
  tellsAsItFails: () => ({ task: { python: "import os, sys\nsys.exit('not with ' + os.environ['TOKEN'])", env } }),
  logs: () => ({ task: { python: "for n in range(300): print('line', n)" }, lines: LINES }),
  keyed: () => ({
    task: { python: "import os, sluice\nsluice.output(os.environ['SLUICE_ATTEMPT_ID'])" },
    key: ({ output }) => output,
  }),
  refused: [
    ["python: { code: pass, args: [5] }", /^4: task "t": python.args\[0\]: expected a text, found 5/],
    [
      "python: { code: pass, args: ['${{ secrets.A }}'] }",
      /^4: task "t": python.args\[0\]: a secret cannot stand in "args"/,
    ],
  ],
};

const CODE = {
  "code.ts": `import { spawn } from "node:child_process";
    export const one = () => ({ n: 1 });
    export const fails = () => { throw new RangeError("out of it"); };
    export const hangs = () => { console.log("begun " + process.pid + " " + spawn("sleep", ["600"]).pid); for (;;); };
    export const shrugs = ({ signal }) => new Promise((end) => signal.addEventListener("abort", () => end(1)));
    export const large = () => "x".repeat(2_000_000);
    export const tells = ({ env }) => { console.log(env.TOKEN); return { [env.TOKEN]: env.TOKEN }; };
    export const tellsAsItFails = ({ env }) => { throw new Error("not with " + env.TOKEN); };
    export const lines = () => { for (let n = 0; n < 300; n++) console.log("line " + n); };
    export const key = ({ attemptId }) => attemptId;`,
};
const calling = (name: string, more: object = {}) => ({ task: { fn: `./code.ts#${name}`, ...more }, code: CODE });

const fn: Scenes = {
  succeeds: () => ({ ...calling("one"), output: { n: 1 } }),
  fails: () => ({ ...calling("fails"), reason: "EXCEPTION", error: /^RangeError: out of it$/ }),
  hangs: () => ({ ...calling("hangs"), ...hanging }),
  shrugs: () => calling("shrugs"),
  tooLarge: () => calling("large"),
  tells: () => calling("tells", { env }),
  tellsAsItFails: () => calling("tellsAsItFails", { env }),
  logs: () => ({ ...calling("lines"), lines: LINES }),
  keyed: () => ({ ...calling("key"), key: ({ output }) => output }),
  refused: [
    ["fn: go", /^4: task "t": fn: a function is written as \.\/file\.ts#exportedName/],
    ["fn: { module: a.ts, export: b }", /^4: task "t": fn: expected a text, found a mapping/],
  ],
};

const http: Scenes = {
  succeeds: ({ url }) => ({
    task: { http: `${url}/ok` },
    output: { status: 200, headers: expect.anything(), body: expect.objectContaining({ path: "/ok" }) },
  }),
  fails: ({ url }) => ({
    task: { http: `${url}/status/503` },
    reason: "HTTP_STATUS",
    error: /^the response has status 503; expected 200 to 299$/,
  }),
  hangs: ({ url }) => ({ task: { http: `${url}/hang` }, ...requesting }),
  shrugs: { cannot: "a request that is aborted has no end of its own" },
  tooLarge: ({ url }) => ({ task: { http: `${url}/large` } }),
  tells: ({ url }) => ({ task: { http: { url: `${url}/ok/${TOKEN}`, headers: { authorization: TOKEN } } } }),
  tellsAsItFails: { cannot: "its errors hold nothing of a request but the host" },
  logs: ({ url }) => ({ task: { http: `${url}/ok` }, lines: [/^GET http:.*\/ok → 200 in \d+ ms, \d+ bytes$/] }),
  keyed: ({ url }) => ({
    task: { http: { url: `${url}/ok`, method: "POST", body: "" } },
    key: ({ output }) => (output as { body: { headers: Record<string, string> } }).body.headers["idempotency-key"],
  }),
  refused: [
    ["http: { url: x, method: FETCH }", /^4: task "t": http.method: "FETCH" is not known here; did you mean "PATCH"/],
    [
      "http: { url: x, headers: { Content-Length: '5' } }",
      /^4: task "t": http.headers.Content-Length: is set by Sluice/,
    ],
    ["http: { url: x, json: 1, body: y }", /^4: task "t": http: http takes at most one of json, form, body/],
  ],
};

const query = (text: string, more: object = {}) => ({
  task: { sql: { connection: "${{ secrets.WAREHOUSE }}", query: text, ...more } },
});

const sql: Scenes = {
  succeeds: () => ({ ...query("select 1 as n"), output: [{ n: 1 }] }),
  fails: () => ({ ...query("select nope"), reason: "SQL_ERROR", error: /column "nope" does not exist .*42703/ }),
  hangs: () => ({
    ...query("do $$ begin raise notice 'begun %', pg_backend_pid(); perform pg_sleep(600); end $$"),
    begun: ({ logged }) => logged(/begun \d+\n/),
    left: (log) => stillThere((/begun (\d+)\n/.exec(log) ?? []).slice(1).map(Number), world.isConnected),
  }),
  shrugs: { cannot: "a query that is cancelled has no end of its own" },
  tooLarge: () => query("select repeat('x', 2000000)"),
  tells: () => query("select $1::text as token", { params: [TOKEN] }),
  tellsAsItFails: () => query("select $1::int", { params: [TOKEN] }),
  logs: () => ({
    ...query("do $$ begin for n in 0..299 loop raise notice 'line %', n; end loop; end $$"),
    lines: [...LINES.map((line) => new RegExp(`${line}$`)), /^DO: 0 rows in \d+ ms$/],
  }),
  keyed: () => ({
    ...query("select $1::text as key", { params: ["${{ task.attemptId }}"] }),
    key: ({ output }) => (output as { key: string }[])[0]!.key,
  }),
  refused: [
    ["sql: { connection: 'postgres://u@h/d' }", /^4: task "t": sql.query: is missing/],
    [
      "sql: { connection: 'postgres://u:pw@h/d', query: select 1 }",
      /^4: task "t": sql.connection: the address holds a password/,
    ],
  ],
};

const nothing = { cannot: "it does nothing" };
const noop: Scenes = {
  succeeds: () => ({ task: { noop: {} }, output: undefined }),
  fails: nothing,
  hangs: nothing,
  shrugs: nothing,
  tooLarge: nothing,
  tells: nothing,
  tellsAsItFails: nothing,
  logs: nothing,
  keyed: nothing,
  refused: [["noop: { a: 1 }", /^4: task "t": noop: unknown key "a"; allowed here: nothing/]],
};

const post = (webhook: string, more: object = {}) => ({ task: { chat: { webhook, text: "hello", ...more } } });
const answerOf = (output: unknown): { headers: Record<string, string>; body: string } =>
  JSON.parse((output as { answer: string }).answer) as { headers: Record<string, string>; body: string };

const chat: Scenes = {
  succeeds: ({ url }) => ({
    ...post(`${url}/ok`, { channel: "#ops" }),
    output: { channel: "#ops", answer: expect.stringContaining(String.raw`{\"channel\":\"#ops\",\"text\":\"hello\"}`) },
  }),
  fails: ({ url }) => ({ ...post(`${url}/status/503`), reason: "CHAT_REFUSED", error: /^refused here: / }),
  hangs: ({ url }) => ({ ...post(`${url}/hang`), ...requesting }),
  shrugs: { cannot: "its request is aborted with it" },
  tooLarge: ({ url }) => post(`${url}/large`),
  tells: ({ url }) => post(`${url}/ok/${TOKEN}`, { text: `it is ${TOKEN}` }),
  tellsAsItFails: ({ url }) => post(`${url}/status/500/${TOKEN}`),
  logs: ({ url }) => ({
    ...post(`${url}/ok`),
    lines: ["posting 5 characters to #general", "the chat answered 200"],
  }),
  keyed: ({ url }) => ({ ...post(`${url}/ok`), key: ({ output }) => answerOf(output).headers["idempotency-key"] }),
  refused: [
    [
      "chat: { webhook: 'https://x.example', text: hi, channel: ops }",
      /^4: task "t": chat.channel: a channel is written like #ops/,
    ],
    [
      "chat: { webhook: 'https://x.example', txt: hi, text: hi }",
      /^4: task "t": chat: unknown key "txt"; did you mean "text"\?/,
    ],
    ["chat: { webhook: nonsense, text: hi }", /^4: task "t": chat.webhook: Invalid URL/],
    ["chat: hi", /^4: task "t": chat: expected a mapping, found "hi"/],
  ],
};

for (const [name, scenes] of Object.entries({ bash, python, fn, http, sql, noop, "a plugin's chat": chat }))
  executorContract(name, attempts, world, scenes);
