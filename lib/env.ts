import os from "node:os";
import path from "node:path";
import { z } from "zod";
import { isIpRange } from "#lib/domain/ip-range.ts";
import { MEMORY_SIZE, resourceAmount } from "#lib/domain/model/resources.ts";
import { describeBadValue, isName, LOG_LEVELS, unknownNames } from "./env-help.ts";

export type LogLevel = (typeof LOG_LEVELS)[number];

const MIB = 1024 * 1024;
/** Pieces of a log are counted in 31 bits, and a reader may want all of them. */
const MAX_LOG_MIB = 16_384;
const TASK_USER = /^(?:[a-z_][a-z0-9_.-]{0,31}|\d{1,10}(?:-\d{1,10})?)$/i;
const DOCKER_HOST = /^(?:unix:\/\/\/.+|tcp:\/\/[A-Za-z0-9_.-]+(?::\d{1,5})?|tcp:\/\/\[[0-9A-Fa-f:.]+\](?::\d{1,5})?)$/;
/** Absolute, and with `:rw` where containers may write. */
const ALLOWED_MOUNT = /^\/[^:]*(?::rw)?$/;
const MAX_UID = 2 ** 32 - 1;
const MAX_USERS = 10_000;
const SLUG = /^[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?$/;

export type Settings = {
  port: number;
  host: string;
  /** Where people and programs reach the web process, without a slash at the end. */
  url: string;
  /** Further addresses under which it is asked, each an origin: scheme, host and port. */
  otherUrls: readonly string[];
  /** Addresses of reverse proxies, which alone are believed about a client's address. */
  trustedProxies: readonly string[];
  databaseUrl: string | undefined;
  /** Of the same database, for what needs a session of its own: without a pooler between. */
  sessionUrl: string | undefined;
  /** What the names of the roles in Postgres begin with. */
  rolePrefix: string;
  /** Of the roles in Postgres that processes have to themselves, and of the one that only reads. */
  rolePasswords: { web?: string; scheduler?: string; worker?: string; reader?: string };
  /** Absolute: children run in other folders. */
  home: string;
  /** Absolute, for the same reason. */
  dagsDir: string;
  /** Absolute paths of files and names of packages. */
  plugins: readonly string[];
  adminPassword: string | undefined;
  apiToken: string | undefined;
  sessionSecret: string | undefined;
  logLevel: LogLevel;
  /** 0 means any free port. */
  healthPort: number;
  workerName: string | undefined;
  queues: readonly string[];
  /** What tasks may ask for by `workerLabels`. */
  labels: readonly string[];
  processSlots: number;
  functionSlots: number;
  inlineSlots: number;
  /** What the worker's tasks may ask for, all together: thousandths of a processor and MiB. */
  cpu: number;
  memory: number;
  /** Private addresses that http tasks may reach. */
  httpAllow: string[];
  /** Absolute, as the folders are. */
  secretsFile: string | undefined;
  /** Processes and threads that one task may have at once. */
  taskPids: number;
  /** Where containers run; undefined means the usual socket, if it is there. */
  dockerHost: string | undefined;
  /** Folders that containers may see, each with `:rw` behind it when they may write there. */
  dockerMounts: string[];
  /** A name, a number or a range of numbers; undefined leaves it to the worker. */
  taskUser: string | undefined;
  /** MiB that must be free where tasks have their folders. */
  minFreeDisk: number;
  /** MiB of log that are kept of an attempt. */
  logLimit: number;
};

/** What a child process is given. Next's types want NODE_ENV in every environment, and ours always is the built product. */
export type ProcessEnvironment = Record<string, string> & { NODE_ENV: "production" };

export type SettingsResult = { ok: true; settings: Settings } | { ok: false; problems: string[] };

function wholeNumber(min: number, max: number) {
  return z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max));
}

function mebibytes() {
  return z
    .string()
    .regex(MEMORY_SIZE)
    .transform((memory) => resourceAmount({ memory }).memory);
}

function urlWith(...protocols: string[]) {
  return z.string().refine((text) => {
    const url = URL.parse(text);
    return url !== null && url.hostname !== "" && protocols.includes(url.protocol);
  });
}

/** Nothing behind the port: a path would seem to mean something. */
function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return false;
  return url.href === `${url.origin}/`;
}

function isSlugList(text: string): boolean {
  return splitList(text).length > 0 && splitList(text).every((name) => SLUG.test(name));
}

/** A package or something in it, as an import names it. */
const PACKAGE = /^(@[\w.-]+\/)?[\w.-]+(\/[\w.-]+)*$/;

function isPath(place: string): boolean {
  return /^\.{0,2}\//.test(place) || /^[^:]+\.[cm]?[jt]s$/.test(place);
}

function splitList(text: string): string[] {
  return [
    ...new Set(
      text
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== ""),
    ),
  ];
}

function ipRanges() {
  return z
    .string()
    .transform(splitList)
    .refine((ranges) => ranges.every(isIpRange));
}

/** Of which SASLprep changes nothing. */
function rolePassword() {
  return z.string().regex(/^[!-~]{12,200}$/);
}

const schema = z.object({
  PORT: wholeNumber(1, 65_535).optional(),
  HOST: z
    .string()
    .regex(/^[A-Za-z0-9.:_-]+$/)
    .optional(),
  SLUICE_URL: urlWith("http:", "https:").optional(),
  SLUICE_OTHER_URLS: z
    .string()
    .transform(splitList)
    .refine((urls) => urls.every(isOrigin))
    .optional(),
  SLUICE_TRUSTED_PROXIES: ipRanges().optional(),
  DATABASE_URL: urlWith("postgres:", "postgresql:").optional(),
  DATABASE_SESSION_URL: urlWith("postgres:", "postgresql:").optional(),
  SLUICE_ROLE_PREFIX: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,39}$/)
    .optional(),
  SLUICE_WEB_DB_PASSWORD: rolePassword().optional(),
  SLUICE_SCHEDULER_DB_PASSWORD: rolePassword().optional(),
  SLUICE_WORKER_DB_PASSWORD: rolePassword().optional(),
  SLUICE_READER_DB_PASSWORD: rolePassword().optional(),
  SLUICE_HOME: z.string().optional(),
  SLUICE_DAGS_DIR: z.string().optional(),
  SLUICE_PLUGINS: z
    .string()
    .transform(splitList)
    .refine((places) => places.length > 0 && places.every((place) => isPath(place) || PACKAGE.test(place)))
    .optional(),
  SLUICE_ADMIN_PASSWORD: z.string().min(8).optional(),
  SLUICE_API_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]{16,}$/)
    .optional(),
  SLUICE_SESSION_SECRET: z.string().min(32).optional(),
  LOG_LEVEL: z.enum(LOG_LEVELS).optional(),
  SLUICE_HEALTH_PORT: wholeNumber(0, 65_535).optional(),
  SLUICE_WORKER_NAME: z.string().regex(SLUG).optional(),
  SLUICE_QUEUES: z.string().refine(isSlugList).transform(splitList).optional(),
  SLUICE_LABELS: z.string().refine(isSlugList).transform(splitList).optional(),
  SLUICE_PROCESS_SLOTS: wholeNumber(1, 1000).optional(),
  SLUICE_FUNCTION_SLOTS: wholeNumber(1, 1000).optional(),
  SLUICE_INLINE_SLOTS: wholeNumber(1, 10_000).optional(),
  SLUICE_CPU: z
    .string()
    .regex(/^\d{1,4}(\.\d{1,3})?$/)
    .transform((text) => Math.round(Number(text) * 1000))
    .optional(),
  SLUICE_MEMORY: mebibytes().optional(),
  SLUICE_HTTP_ALLOW: ipRanges().optional(),
  SLUICE_SECRETS_FILE: z.string().optional(),
  SLUICE_MIN_FREE_DISK: mebibytes().optional(),
  SLUICE_LOG_LIMIT: mebibytes()
    .refine((mib) => mib > 0 && mib <= MAX_LOG_MIB)
    .optional(),
  // A runtime such as Node or Go has a dozen threads before it does anything.
  SLUICE_TASK_PIDS: wholeNumber(32, 1_000_000).optional(),
  SLUICE_DOCKER_HOST: z.string().regex(DOCKER_HOST).optional(),
  SLUICE_DOCKER_MOUNTS: z
    .string()
    .transform(splitList)
    .refine((folders) => folders.every((folder) => ALLOWED_MOUNT.test(folder)))
    .optional(),
  SLUICE_TASK_USER: z
    .string()
    .regex(TASK_USER)
    .refine((text) => !/^\d+-/.test(text) || isRange(text))
    .optional(),
});

function isRange(text: string): boolean {
  const [first, last] = text.split("-").map(Number) as [number, number];
  return first > 0 && first < last && last < MAX_UID && last - first < MAX_USERS;
}

export type SettingName = keyof z.infer<typeof schema>;

type Env = Record<string, string | undefined>;

/** Reads and checks every setting; a bad value or an unknown SLUICE_ name is a problem in words. */
export function readSettings(env: Env): SettingsResult {
  // Compose files hand over `NAME=` for what was left out, so empty means unset.
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));
  const parsed = schema.safeParse(given);
  const problems = [...unknownNames(given)];
  if (!parsed.success)
    problems.push(...parsed.error.issues.map((issue) => describeBadValue(String(issue.path[0]), given)));
  if (problems.length > 0 || !parsed.success) return { ok: false, problems: [...new Set(problems)] };
  return { ok: true, settings: toSettings(parsed.data) };
}

/** The settings of this process. */
export function processSettings(): SettingsResult {
  return readSettings(process.env);
}

function toSettings(env: z.infer<typeof schema>): Settings {
  const port = env.PORT ?? 8080;
  return {
    port,
    host: env.HOST ?? "127.0.0.1",
    url: (env.SLUICE_URL ?? `http://localhost:${port}`).replace(/\/+$/, ""),
    otherUrls: (env.SLUICE_OTHER_URLS ?? []).map((url) => new URL(url).origin),
    trustedProxies: env.SLUICE_TRUSTED_PROXIES ?? [],
    databaseUrl: env.DATABASE_URL,
    sessionUrl: env.DATABASE_SESSION_URL ?? env.DATABASE_URL,
    ...roleSettings(env),
    // Unmarked, the bundler takes these for files of the web build and traces the whole folder into it.
    home: path.resolve(/*turbopackIgnore: true*/ env.SLUICE_HOME ?? ".sluice"),
    dagsDir: path.resolve(/*turbopackIgnore: true*/ env.SLUICE_DAGS_DIR ?? "dags"),
    plugins: (env.SLUICE_PLUGINS ?? []).map((place) =>
      isPath(place) ? path.resolve(/*turbopackIgnore: true*/ place) : place,
    ),
    adminPassword: env.SLUICE_ADMIN_PASSWORD,
    apiToken: env.SLUICE_API_TOKEN,
    sessionSecret: env.SLUICE_SESSION_SECRET,
    logLevel: env.LOG_LEVEL ?? "info",
    healthPort: env.SLUICE_HEALTH_PORT ?? 0,
    ...workerSettings(env),
  };
}

function roleSettings(env: z.infer<typeof schema>): Pick<Settings, "rolePrefix" | "rolePasswords"> {
  const passwords: Record<keyof Settings["rolePasswords"], string | undefined> = {
    web: env.SLUICE_WEB_DB_PASSWORD,
    scheduler: env.SLUICE_SCHEDULER_DB_PASSWORD,
    worker: env.SLUICE_WORKER_DB_PASSWORD,
    reader: env.SLUICE_READER_DB_PASSWORD,
  };
  const given = Object.entries(passwords).filter(([, password]) => password !== undefined);
  return { rolePrefix: env.SLUICE_ROLE_PREFIX ?? "sluice", rolePasswords: Object.fromEntries(given) };
}

type TaskSettings = Pick<
  Settings,
  "httpAllow" | "secretsFile" | "taskPids" | "taskUser" | "dockerHost" | "dockerMounts" | "minFreeDisk" | "logLimit"
>;

type WorkerSettings = TaskSettings &
  Pick<
    Settings,
    "workerName" | "queues" | "labels" | "processSlots" | "functionSlots" | "inlineSlots" | "cpu" | "memory"
  >;

function workerSettings(env: z.infer<typeof schema>): WorkerSettings {
  const cores = os.availableParallelism();
  return {
    workerName: env.SLUICE_WORKER_NAME,
    queues: env.SLUICE_QUEUES ?? ["default"],
    labels: env.SLUICE_LABELS ?? [],
    processSlots: env.SLUICE_PROCESS_SLOTS ?? 2 * cores,
    functionSlots: env.SLUICE_FUNCTION_SLOTS ?? cores,
    inlineSlots: env.SLUICE_INLINE_SLOTS ?? 256,
    cpu: env.SLUICE_CPU ?? 1000 * cores,
    memory: env.SLUICE_MEMORY ?? usableMemory(),
    ...taskSettings(env),
  };
}

/** What tasks may do and are given. */
function taskSettings(env: z.infer<typeof schema>): TaskSettings {
  return {
    httpAllow: env.SLUICE_HTTP_ALLOW ?? [],
    secretsFile:
      env.SLUICE_SECRETS_FILE === undefined
        ? undefined
        : path.resolve(/*turbopackIgnore: true*/ env.SLUICE_SECRETS_FILE),
    taskPids: env.SLUICE_TASK_PIDS ?? 1_000,
    taskUser: env.SLUICE_TASK_USER,
    dockerHost: env.SLUICE_DOCKER_HOST,
    dockerMounts: env.SLUICE_DOCKER_MOUNTS ?? [],
    minFreeDisk: env.SLUICE_MIN_FREE_DISK ?? 256,
    logLimit: env.SLUICE_LOG_LIMIT ?? 64,
  };
}

/** MiB of this machine, or of the control group that this process is limited to. */
function usableMemory(): number {
  const limit = process.constrainedMemory();
  return Math.floor(Math.min(os.totalmem(), limit > 0 ? limit : Number.POSITIVE_INFINITY) / MIB);
}

/** The variables that say the same as `settings`. Absent settings are absent; the passwords of the admin and of roles stay with the supervisor. */
function toEnv(settings: Settings): Record<string, string> {
  const entries: [SettingName, string | undefined][] = [
    ["PORT", String(settings.port)],
    ["HOST", settings.host],
    ["SLUICE_URL", settings.url],
    ["SLUICE_OTHER_URLS", settings.otherUrls.join(",") || undefined],
    ["SLUICE_TRUSTED_PROXIES", settings.trustedProxies.join(",") || undefined],
    ["DATABASE_URL", settings.databaseUrl],
    ["DATABASE_SESSION_URL", settings.sessionUrl],
    ["SLUICE_HOME", settings.home],
    ["SLUICE_DAGS_DIR", settings.dagsDir],
    ["SLUICE_PLUGINS", settings.plugins.join(",") || undefined],
    ["SLUICE_API_TOKEN", settings.apiToken],
    ["SLUICE_SESSION_SECRET", settings.sessionSecret],
    ["LOG_LEVEL", settings.logLevel],
    ["SLUICE_HEALTH_PORT", String(settings.healthPort)],
    ["SLUICE_WORKER_NAME", settings.workerName],
    ["SLUICE_QUEUES", settings.queues.join(",")],
    ["SLUICE_LABELS", settings.labels.join(",") || undefined],
    ["SLUICE_PROCESS_SLOTS", String(settings.processSlots)],
    ["SLUICE_FUNCTION_SLOTS", String(settings.functionSlots)],
    ["SLUICE_INLINE_SLOTS", String(settings.inlineSlots)],
    ["SLUICE_CPU", String(settings.cpu / 1000)],
    ["SLUICE_MEMORY", `${settings.memory}Mi`],
    ["SLUICE_HTTP_ALLOW", settings.httpAllow.join(",") || undefined],
    ["SLUICE_SECRETS_FILE", settings.secretsFile],
    ["SLUICE_TASK_PIDS", String(settings.taskPids)],
    ["SLUICE_TASK_USER", settings.taskUser],
    ["SLUICE_DOCKER_HOST", settings.dockerHost],
    ["SLUICE_DOCKER_MOUNTS", settings.dockerMounts.join(",") || undefined],
    ["SLUICE_MIN_FREE_DISK", `${settings.minFreeDisk}Mi`],
    ["SLUICE_LOG_LIMIT", `${settings.logLimit}Mi`],
  ];
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

/** The environment of a child process: what this machine gives us, with our settings as read and `extra` on top. */
export function childEnv(settings: Settings, extra: Record<string, string> = {}): ProcessEnvironment {
  const inherited = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined || isName(name) || name.startsWith("NODE_CHANNEL_") ? [] : [[name, value] as const],
  );
  return { ...Object.fromEntries(inherited), ...toEnv(settings), ...extra, NODE_ENV: "production" };
}

/** The few variables a foreign program (Postgres and its tools), or a process of Node with code of others, may see. */
export function plainEnv(): ProcessEnvironment {
  const names = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "NODE_COMPILE_CACHE"];
  const present = names.flatMap((name) =>
    process.env[name] === undefined ? [] : [[name, process.env[name]] as const],
  );
  return { ...Object.fromEntries(present), NODE_ENV: "production" };
}

/** Says our settings in the words of Next and NextAuth, before the server bundle is imported. */
export function exportNextAuthUrl(settings: Settings): void {
  Object.assign(process.env, toEnv(settings), {
    HOSTNAME: settings.host,
    NEXTAUTH_URL: settings.url,
    NODE_ENV: "production",
    NEXT_TELEMETRY_DISABLED: "1",
    // We stop the server ourselves: Next would wait for open event streams.
    NEXT_MANUAL_SIG_HANDLE: "true",
  });
  if (settings.sessionSecret !== undefined) process.env.NEXTAUTH_SECRET = settings.sessionSecret;
}
