import { nearestName } from "#lib/domain/nearest.ts";
import type { SettingName } from "./env.ts";

type Env = Record<string, string | undefined>;

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

type Help = { allowed: string; fallback: string; about: string; secret?: true };

/** What people are told about each variable: in `sluice --help`, and when a value is refused. */
export const SETTING_HELP: Record<SettingName, Help> = {
  PORT: { allowed: "a whole number from 1 to 65535", fallback: "8080", about: "port of the web UI and API" },
  HOST: { allowed: "an address or host name", fallback: "127.0.0.1", about: "address the servers listen on" },
  SLUICE_URL: {
    allowed: "an http:// or https:// address",
    fallback: "http://localhost:PORT",
    about: "public address of the web UI",
  },
  DATABASE_URL: {
    allowed: "a postgres:// or postgresql:// address",
    fallback: "embedded Postgres (start only)",
    about: "the database",
    secret: true,
  },
  DATABASE_SESSION_URL: {
    allowed: "a postgres:// or postgresql:// address",
    fallback: "DATABASE_URL",
    about: "the same database without a pooler in transaction mode between, for LISTEN and locks of sessions",
    secret: true,
  },
  SLUICE_ROLE_PREFIX: {
    allowed: "lower-case letters, digits and '_', at most 40, a letter first",
    fallback: "sluice",
    about:
      "what the names of the roles in Postgres begin with that migrate makes: one for each installation on a server",
  },
  SLUICE_WEB_DB_PASSWORD: {
    allowed: "at least 12 printable ASCII characters without spaces",
    fallback: "unchanged; of an embedded Postgres made at the first start",
    about: "password of web's role in Postgres; migrate gives it to the role, start has the process use it",
    secret: true,
  },
  SLUICE_SCHEDULER_DB_PASSWORD: {
    allowed: "at least 12 printable ASCII characters without spaces",
    fallback: "unchanged; of an embedded Postgres made at the first start",
    about: "password of schedulers' role in Postgres; migrate gives it to the role, start has the process use it",
    secret: true,
  },
  SLUICE_WORKER_DB_PASSWORD: {
    allowed: "at least 12 printable ASCII characters without spaces",
    fallback: "unchanged; of an embedded Postgres made at the first start",
    about: "password of workers' role in Postgres; migrate gives it to the role, start has the process use it",
    secret: true,
  },
  SLUICE_READER_DB_PASSWORD: {
    allowed: "at least 12 printable ASCII characters without spaces",
    fallback: "unchanged; of an embedded Postgres made at the first start",
    about: "password of the role that only reads, for reports; migrate gives it to the role",
    secret: true,
  },
  SLUICE_HOME: { allowed: "a folder", fallback: ".sluice", about: "data folder: secrets and the embedded database" },
  SLUICE_DAGS_DIR: { allowed: "a folder", fallback: "dags", about: "where DAG files are read from" },
  SLUICE_PLUGINS: {
    allowed: "files like ./plugins/mail.ts and names of packages, separated by commas",
    fallback: "none",
    about: "where further types of task come from; for scheduler, workers and commands that read DAG files",
  },
  SLUICE_ADMIN_PASSWORD: {
    allowed: "at least 8 characters",
    fallback: "made and printed at the first start",
    about: "password of the user admin",
    secret: true,
  },
  SLUICE_API_TOKEN: {
    allowed: "at least 16 printable characters without spaces",
    fallback: "made at the first start",
    about: "bearer token of the REST API",
    secret: true,
  },
  SLUICE_SESSION_SECRET: {
    allowed: "at least 32 characters",
    fallback: "made at the first start",
    about: "key that signs browser sessions",
    secret: true,
  },
  LOG_LEVEL: { allowed: LOG_LEVELS.join(", "), fallback: "info", about: "least severe log line that is written" },
  SLUICE_HEALTH_PORT: {
    allowed: "a whole number from 0 to 65535; 0 is any free port",
    fallback: "0",
    about: "health server of scheduler and worker",
  },
  SLUICE_WORKER_NAME: {
    allowed: "lower-case letters, digits, '-', '_' and '.', at most 63",
    fallback: "made from host and process",
    about: "stable name of this worker",
  },
  SLUICE_QUEUES: {
    allowed: "queue names separated by commas",
    fallback: "default",
    about: "queues this worker serves",
  },
  SLUICE_LABELS: {
    allowed: "labels separated by commas: lower-case letters, digits, '-', '_' and '.', at most 63",
    fallback: "none",
    about: "labels of this worker, for tasks that ask for them (workerLabels)",
  },
  SLUICE_PROCESS_SLOTS: {
    allowed: "a whole number from 1 to 1000",
    fallback: "2 x cores",
    about: "tasks run as processes at once",
  },
  SLUICE_FUNCTION_SLOTS: {
    allowed: "a whole number from 1 to 1000",
    fallback: "cores",
    about: "tasks run as functions at once",
  },
  SLUICE_INLINE_SLOTS: {
    allowed: "a whole number from 1 to 10000",
    fallback: "256",
    about: "tasks run inside the worker at once",
  },
  SLUICE_CPU: {
    allowed: "a number of processors, like 4 or 0.5",
    fallback: "cores",
    about: "processors that this worker's tasks may ask for, all together",
  },
  SLUICE_MEMORY: {
    allowed: "a size like 512Mi or 8Gi",
    fallback: "the memory this worker may use",
    about: "memory that this worker's tasks may ask for, all together",
  },
  SLUICE_OTHER_URLS: {
    allowed: "addresses like http://web:8080, without a path, separated by commas",
    fallback: "none",
    about:
      "further addresses of the web UI and API; asked by any other name they refuse (this machine's own are known)",
  },
  SLUICE_TRUSTED_PROXIES: {
    allowed: "addresses or ranges like 10.1.0.0/16, separated by commas",
    fallback: "none",
    about: "reverse proxies whose X-Forwarded-For is believed; guesses at passwords are limited by address",
  },
  SLUICE_HTTP_ALLOW: {
    allowed: "addresses or ranges like 10.1.0.0/16, separated by commas",
    fallback: "none",
    about: "private addresses that http tasks may reach",
  },
  SLUICE_SECRETS_FILE: {
    allowed: "a JSON file of the worker's user, mode 600",
    fallback: "none",
    about: "the secrets that tasks of this worker may use",
  },
  SLUICE_TASK_PIDS: {
    allowed: "a whole number from 32 to 1000000",
    fallback: "1000",
    about: "processes and threads that one task may have at once; of a process, where control groups can be written",
  },
  SLUICE_DOCKER_HOST: {
    allowed: "an address like unix:///var/run/docker.sock or tcp://engine.internal:2375",
    fallback: "unix:///var/run/docker.sock, when it is there",
    about: "container engine that docker tasks run on; whoever reaches it has the powers of root there",
  },
  SLUICE_DOCKER_MOUNTS: {
    allowed:
      "absolute folders separated by commas, with :rw behind those that may be written, like /srv/in,/srv/out:rw",
    fallback: "none",
    about: "folders that docker tasks may mount",
  },
  SLUICE_TASK_USER: {
    allowed: "a user's name or number, or a range of numbers like 61000-61999",
    fallback: "nobody when the worker is root, else its own user",
    about: "who tasks run as; of a range, which no other worker of the machine has, each process has a user to itself",
  },
  SLUICE_MIN_FREE_DISK: {
    allowed: "a size like 256Mi or 2Gi; 0Mi asks for nothing",
    fallback: "256Mi",
    about:
      "free disk that a worker must have left to claim tasks; below half of it the task that has written most is ended",
  },
  SLUICE_LOG_LIMIT: {
    allowed: "a size like 64Mi or 1Gi, at most 16Gi",
    fallback: "64Mi",
    about: "how much log is kept of one attempt; what comes after is dropped, with a mark",
  },
};

/** What is said of variables that look like settings and are none. */
export function unknownNames(env: Env): string[] {
  const known = Object.keys(SETTING_HELP);
  return Object.keys(env)
    .filter((name) => name.startsWith("SLUICE_") && !known.includes(name))
    .map((name) => {
      const nearest = nearestName(name, known, "SLUICE_");
      return nearest === undefined
        ? `${name} is not a setting of Sluice; \`sluice --help\` lists them`
        : `${name} is not a setting of Sluice; did you mean ${nearest}?`;
    });
}

export function isName(name: string): name is SettingName {
  return Object.hasOwn(SETTING_HELP, name);
}

/** What is said of a value that cannot be used. */
export function describeBadValue(name: string, env: Env): string {
  if (!isName(name)) return `${name} cannot be used`;
  const help = SETTING_HELP[name];
  const shown = help.secret ? "" : ` ${JSON.stringify(env[name])}`;
  return `${name}${shown} cannot be used; allowed: ${help.allowed}`;
}
