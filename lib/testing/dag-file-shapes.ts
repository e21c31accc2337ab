/** Texts that are hard for a parser of DAG files, each of so many characters. */
export type Shape = (length: number) => string;

/** As many of `piece` as fit, each with its number. */
export function filled(length: number, piece: (n: number) => string): string {
  const parts: string[] = [];
  let left = length;
  for (let n = 0; left > 0; n++) {
    const part = piece(n);
    parts.push(part);
    left -= part.length;
  }
  return parts.join("");
}

const TASK = '  - id: only\n    bash: "true"\n';
const HEAD = `id: a\ntasks:\n${TASK}`;
const CONFIG = "id: a\ntasks:\n  - id: only\n    http:\n      url: https://example.org\n      json:\n";

const inConfig =
  (piece: (n: number) => string): Shape =>
  (length) =>
    CONFIG + filled(length, piece);
const inText =
  (piece: (n: number) => string): Shape =>
  (length) =>
    `${CONFIG.trimEnd()} ${filled(length, piece)}\n`;
const json =
  (piece: (n: number) => string, end = ""): Shape =>
  (length) =>
    `{"id": "a", "tasks": [${filled(length, piece)}${end}]}`;

/** In YAML and in JSON; good ones, and such as have a mistake at each place. */
export const DAG_FILE_SHAPES: Record<string, Shape> = {
  "small tasks": (length) => `id: a\ntasks:\n${filled(length, (n) => `  - { id: t${n}, noop: {} }\n`)}`,
  "small tasks in a chain": (length) =>
    `id: a\ntasks:\n${filled(length, (n) => `  - { id: t${n}, dependsOn: [${n === 0 ? "" : `t${n - 1}`}], noop: {} }\n`)}`,
  "tasks that are wrong": (length) =>
    `id: a\ntasks:\n${filled(length, () => "  - { id: 5, bsh: x, retries: three }\n")}`,
  "tasks with unknown keys": (length) =>
    `id: a\ntasks:\n${filled(length, (n) => `  - { id: t${n}, noop: {}, k${n}: 1 }\n`)}`,
  "one task of many parents": (length) =>
    `id: a\ntasks:\n  - id: t\n    noop:\n    dependsOn: [${filled(length, (n) => `t${n}, `)}t]\n`,
  "all tasks of all parents": (length) => {
    const most = Math.floor(Math.sqrt(length / 3));
    return `id: a\ntasks:\n${filled(length, (n) => `  - { id: t${n}, noop: {}, dependsOn: [${Array.from({ length: Math.min(n, most) }, (_, m) => `t${m}`).join()}] }\n`)}`;
  },
  "tasks of one id": (length) => `id: a\ntasks:\n${filled(length, () => "  - { id: t, noop: {} }\n")}`,
  "unknown keys": (length) => HEAD + filled(length, (n) => `key${n}: v\n`),
  "one key again and again": (length) => HEAD + filled(length, () => "key: v\n"),
  "keys of a config": inConfig((n) => `        k${n}: v\n`),
  "keys in braces": inText((n) => `${n === 0 ? "{ " : ""}k${n}: 1, `),
  "long keys": inConfig((n) => `        ? ${"k".repeat(900)}${n}\n        : v\n`),
  "explicit keys": inConfig(() => "        ? \n"),
  anchors: inConfig((n) => `        k${n}: &a${n} v\n`),
  "one anchor again and again": inConfig((n) => `        k${n}: &a v\n`),
  aliases: (length) => `${CONFIG}        a: &a v\n${filled(length, (n) => `        k${n}: *a\n`)}`,
  "aliases of anchors": inConfig((n) => `        k${n}: &a${n} ${n === 0 ? "v" : `[*a${n - 1}]`}\n`),
  "unknown aliases": inConfig((n) => `        k${n}: *a${n}\n`),
  "merge keys": inConfig(() => "        <<: {a: 1}\n"),
  tags: inConfig((n) => `        k${n}: !t${n} v\n`),
  directives: (length) => `${filled(length, (n) => `%TAG !e${n}! tag:x,2000:\n`)}---\n${HEAD}`,
  documents: (length) => filled(length, () => "--- a\n"),
  "ends of documents": (length) => HEAD + filled(length, () => "...\n"),
  "one long line": inText(() => "word "),
  "one long word": inText(() => "w"),
  "a plain text of many lines": inConfig(() => "        word\n"),
  "a plain text of empty lines": (length) => `${CONFIG}        a${"\n".repeat(length)}        b\n`,
  "a text in quotes": inText((n) => (n === 0 ? '"' : "word ")),
  escapes: inText((n) => (n === 0 ? '"' : "\\n")),
  "wrong escapes": inText((n) => (n === 0 ? '"' : "\\q")),
  "single quotes": inText((n) => (n === 0 ? "'" : "''")),
  quotes: inText(() => '"" '),
  "quotes of many lines": (length) => `${CONFIG}        "${filled(length, () => "\n        word")}"\n`,
  "quotes of empty lines": (length) => `${CONFIG}        "${"\n".repeat(length)}"\n`,
  "a block of text": (length) => `${CONFIG.trimEnd()} |\n${filled(length, () => "        word\n")}`,
  "a folded block": (length) =>
    `${CONFIG.trimEnd()} >\n${filled(length, (n) => (n % 2 === 0 ? "        word\n" : "\n"))}`,
  "a block of empty lines": (length) => `${CONFIG.trimEnd()} |+\n${"\n".repeat(length)}`,
  "a block of blanks": (length) => `${CONFIG.trimEnd()} |\n${filled(length, (n) => `${" ".repeat(n % 300)}\n`)}`,
  spaces: (length) => `id: a${" ".repeat(length)}\n`,
  "lines of spaces": (length) => HEAD + filled(length, () => `${" ".repeat(200)}\n`),
  "ever more spaces": (length) => HEAD + filled(length, (n) => `${" ".repeat(n)}a:\n`),
  tabs: (length) => `id: a\ntasks:\n${"\t".repeat(length)}x: 1\n`,
  "lines of tabs": (length) => HEAD + filled(length, () => "\tx: 1\n"),
  "empty lines": (length) => HEAD + "\n".repeat(length),
  "carriage returns": (length) => HEAD + "\r".repeat(length),
  comments: (length) => HEAD + filled(length, () => "# a\n"),
  "comments behind values": inConfig((n) => `        k${n}: v # comment\n`),
  "comments before a value": (length) => `${CONFIG}        k:\n${filled(length, () => "          # a\n")}          v\n`,
  "one long comment": (length) => `${HEAD}#${" a".repeat(length / 2)}\n`,
  "comments in brackets": (length) => `${CONFIG.trimEnd()} [\n${filled(length, () => "        # a\n")}        1]\n`,
  dashes: (length) => `id: a\ntasks:\n${filled(length, () => "- ")}`,
  "lines of dashes": (length) => `id: a\ntasks:\n${filled(length, () => "-\n")}`,
  "lists in lists": (length) => `id: a\ntasks:\n${filled(length, () => `${"- ".repeat(60)}1\n`)}`,
  brackets: (length) => `id: ${"[".repeat(length)}`,
  "closed brackets": inText((n) => (n === 0 ? "[" : "[],")),
  "nested brackets": inText((n) => (n === 0 ? "[" : `${"[".repeat(60)}${"]".repeat(60)},`)),
  "brackets that are not opened": (length) => HEAD + "]".repeat(length),
  braces: (length) => `id: ${"{".repeat(length)}`,
  "braces that are not opened": (length) => HEAD + "} ".repeat(length / 2),
  commas: (length) => `tasks: [${",".repeat(length)}]`,
  "commas with spaces": (length) => `tasks: [${", ".repeat(length / 2)}]`,
  colons: (length) => `${HEAD}a${":".repeat(length)}\n`,
  "colons with spaces": (length) => HEAD + ": ".repeat(length / 2),
  "colons on lines": (length) => HEAD + ":\n".repeat(length / 2),
  questions: (length) => HEAD + "? ".repeat(length / 2),
  "pairs in brackets": inText((n) => (n === 0 ? "[" : "a: b, ")),
  ampersands: (length) => `id: ${"&".repeat(length)}`,
  "anchors of one value": (length) => `id: ${"&a ".repeat(length / 3)}`,
  exclamations: (length) => `id: ${"!".repeat(length)}`,
  "tags of one value": (length) => `id: ${"!a ".repeat(length / 3)}`,
  bars: (length) => HEAD + "|\n".repeat(length / 2),
  digits: inText(() => "1"),
  "a number with signs": inText((n) => (n % 2 === 0 ? "1" : "_")),
  dots: inText(() => "."),
  numbers: inText((n) => (n === 0 ? "[" : "1e9,")),
  expressions: (length) => `${CONFIG}${filled(length, (n) => `        k${n}: "\${{ 1 + ${n} }}"\n`)}`,
  "expressions of one text": inText((n) => (n === 0 ? '"' : "${{1}}")),
  "expressions that are wrong": inConfig((n) => `        k${n}: "\${{ params.p${n} }}"\n`),
  "expressions that are long": inConfig((n) => `        k${n}: "\${{ ${"1 + ".repeat(400)}1 }}"\n`),
  "expressions that are deep": inConfig((n) => `        k${n}: "\${{ ${"(".repeat(45)}1${")".repeat(45)} }}"\n`),
  "expressions that do not end": inText((n) => (n === 0 ? '"' : "${{")),
  params: (length) =>
    `id: a\nparams:\n${filled(length, (n) => `  p${n}: { type: string, default: x }\n`)}tasks:\n${TASK}`,
  callbacks: (length) =>
    `${HEAD}callbacks:\n  onFailure:\n${filled(length, () => "    - http: { url: https://example.org }\n")}`,
  schedules: (length) => `${HEAD}schedule:\n${filled(length, (n) => `  - cron: "${n % 60} * * * *"\n`)}`,
  "schedules that are wrong": (length) =>
    `${HEAD}schedule:\n${filled(length, (n) => `  - { cron: "${n} * * *", timezone: Europe/Berln }\n`)}`,
  "dates of a calendar": (length) =>
    `${HEAD}calendars:\n  c:\n    dates:\n${filled(length, (n) => `      - 20${10 + (n % 80)}-12-24 Eve\n`)}`,
  environment: (length) => `${HEAD}    env:\n${filled(length, (n) => `      K${n}: v\n`)}`,
  "environment of defaults": (length) =>
    `id: a\ndefaults: { env: {${filled(length / 2, (n) => `K${n}: v, `)}} }\ntasks:\n${filled(length / 2, (n) => `  - { id: t${n}, noop: {} }\n`)}`,
  "urls with passwords": (length) => `${HEAD}x: "${filled(length, () => "://a:b")}\n`,
  "options of a shell": (length) =>
    `id: a\ntasks:\n  - id: t\n    docker: { image: a, command: [${filled(length, () => "-c, ")}x] }\n`,
  "sizes of memory": (length) =>
    `id: a\ntasks:\n  - id: t\n    noop:\n    resources: { memory: "${"1".repeat(length)}!" }\n`,
  "addresses of databases": (length) =>
    `id: a\ntasks:\n  - id: t\n    sql: { query: select 1, connection: "${filled(length, () => "a://b:")}" }\n`,
  "JSON tasks": json((n) => `{"id":"t${n}","noop":{}},`, '{"id":"z","noop":{}}'),
  "JSON tasks in a chain": json(
    (n) => `{"id":"t${n}","noop":{},"dependsOn":[${n === 0 ? "" : `"t${n - 1}"`}]},`,
    '{"id":"z","noop":{}}',
  ),
  "JSON tasks that are wrong": json(() => '{"id":5,"bsh":1},', "{}"),
  "JSON keys": (length) => `{${filled(length, (n) => `"k${n}":1,`)}"id":"a"}`,
  "one JSON key again and again": (length) => `{${filled(length, () => '"k":1,')}"id":"a"}`,
  "JSON numbers": json(() => "1,", "1"),
  "JSON lists": json(() => "[],", "[]"),
  "JSON text": json((n) => (n === 0 ? '"' : "a"), '"'),
  "JSON escapes": json((n) => (n === 0 ? '"' : '\\"'), '"'),
  "JSON text without an end": json((n) => (n === 0 ? '"' : '\\"')),
  "JSON spaces": json(() => " "),
  "JSON lines": json(() => "\n"),
  "nested JSON": (length) => `{"id":${'{"a":['.repeat(length / 6)}`,
};
