import { existsSync, globSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { rolesOf } from "#lib/db/roles/grants.ts";
import { SETTING_HELP } from "#lib/env-help.ts";
import { readSettings } from "#lib/env.ts";
import { NEEDED_CAPABILITIES } from "#worker/task-user.ts";

/** The image and the compose file, checked against the sources they start. No Docker is needed. */
const ROOT = path.resolve(import.meta.dirname, "../..");
const text = (file: string) => readFileSync(path.join(ROOT, file), "utf8");

const Service = z.object({
  image: z.string(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.coerce.string()).default({}),
  volumes: z.array(z.string()).default([]),
  ports: z.array(z.string()).default([]),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  restart: z.string().optional(),
  privileged: z.boolean().optional(),
  user: z.string().optional(),
  cap_drop: z.array(z.string()).default([]),
  cap_add: z.array(z.string()).default([]),
  security_opt: z.array(z.string()).default([]),
});

const compose = z
  .object({ services: z.record(z.string(), Service), volumes: z.record(z.string(), z.unknown()) })
  .parse(parse(text("docker-compose.yml"), { merge: true }));
const ours = Object.entries(compose.services).filter(([name]) => name !== "postgres");

const dockerfile = text("Dockerfile")
  .replaceAll(/\\\n\s*/g, " ")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => ({ word: line.split(" ")[0] ?? "", rest: line.slice(line.indexOf(" ") + 1) }));
const lines = (word: string) => dockerfile.filter((line) => line.word === word).map((line) => line.rest);

const imageEnv = Object.fromEntries(
  lines("ENV").flatMap((line) => line.split(" ").map((pair) => pair.split("=") as [string, string])),
);

/** `sluice <name>` exists when a source of cli/ makes a command of that name. */
const commands = new Set(
  globSync("cli/*.ts", { cwd: ROOT }).flatMap((file) =>
    [...text(file).matchAll(/(?:new Command|\.command)\("([a-z-]+)/g)].map((match) => match[1]),
  ),
);

/** What Node itself reads. */
const OF_NODE = ["NODE_ENV", "NODE_OPTIONS", "NODE_COMPILE_CACHE"];

describe("Dockerfile", () => {
  test("every file it copies is in the tree, and in the build context", () => {
    const context = text(".dockerignore").split("\n");
    const copied = lines("COPY").flatMap((line) => {
      const words = line.split(" ");
      return words[0]?.startsWith("--from=") ? [] : words.slice(0, -1);
    });
    for (const source of copied.filter((one) => one !== ".")) {
      expect(existsSync(path.join(ROOT, source)), source).toBe(true);
      expect(context, source).toContain(`!${source}`);
    }
    expect(copied.length).toBeGreaterThan(5);
  });

  test("what the build context names is in the tree", () => {
    const named = text(".dockerignore").match(/^!.+$/gm) ?? [];
    for (const line of named) expect(existsSync(path.join(ROOT, line.slice(1))), line).toBe(true);
  });

  test("scripts it runs are in the tree", () => {
    const scripts = lines("RUN").flatMap((line) => [...line.matchAll(/node ([\w./-]+\.(?:ts|mjs|js))/g)]);
    for (const [, script] of scripts) expect(existsSync(path.join(ROOT, script ?? "")), script).toBe(true);
    expect(scripts).toHaveLength(2);
  });

  test("it runs the command line, as a user that is not root, on the Node we ask for", () => {
    expect(lines("ENTRYPOINT")).toEqual([`["node", "cli/sluice.mjs"]`]);
    expect(lines("CMD")).toEqual([`["--help"]`]);
    expect(lines("USER").at(-1)).toMatch(/^[1-9]\d*(:[1-9]\d*)?$/);
    expect(text("Dockerfile")).toContain("NODE_IMAGE=node:24-bookworm-slim");
  });

  test("only production dependencies reach the image, from the lock file", () => {
    const install = lines("RUN").find((line) => line.includes("--omit=dev"));
    expect(install).toMatch(/^npm ci --omit=dev --omit=optional\b/);
    expect(lines("RUN").join("\n")).not.toMatch(/npm (install|i)\b/);
  });

  test("its settings are settings of ours and can be used", () => {
    const known = { ...imageEnv };
    for (const foreign of [...OF_NODE, "NEXT_TELEMETRY_DISABLED", "CHECKPOINT_DISABLE"]) delete known[foreign];
    for (const name of Object.keys(known)) expect(Object.keys(SETTING_HELP)).toContain(name);
    expect(readSettings(known)).toMatchObject({ ok: true, settings: { host: "0.0.0.0" } });
  });
});

describe("docker-compose.yml", () => {
  test.for(ours)("%s runs a command that exists", ([, service]) => {
    expect(service.command).toHaveLength(1);
    expect([...commands]).toContain(service.command?.[0]);
  });

  test.for(ours)("%s: every variable is a setting, and its value can be used", ([, service]) => {
    const known = [...Object.keys(SETTING_HELP), ...OF_NODE];
    for (const name of Object.keys(service.environment)) expect(known).toContain(name);
    const filled = Object.entries(service.environment).map(([name, value]) => [
      name,
      value.replaceAll(/\$\{(\w+):\?[^}]*\}/g, "x".repeat(40)).replaceAll(/\$\{\w+:-([^}]*)\}/g, "$1"),
    ]);
    const read = readSettings(Object.fromEntries(filled) as Record<string, string>);
    expect(read.ok ? [] : read.problems).toEqual([]);
  });

  test("each role has its own service", () => {
    expect(new Set(ours.map(([, service]) => service.command?.[0]))).toEqual(
      new Set(["migrate", "scheduler", "web", "worker"]),
    );
  });

  test("every secret must be given: no default password exists", () => {
    const secret = /PASSWORD|SECRET|TOKEN/;
    for (const [name, service] of Object.entries(compose.services)) {
      for (const [variable, value] of Object.entries(service.environment)) {
        if (secret.test(variable)) expect(value, `${name}.${variable}`).toMatch(/^\$\{\w+:\?[^}]+\}$/);
      }
    }
    const used = [...text("docker-compose.yml").matchAll(/\$\{(\w*(?:PASSWORD|SECRET|TOKEN)\w*)([^}]*)\}/g)];
    expect(used.map(([, , rest]) => rest?.slice(0, 2))).toEqual(used.map(() => ":?"));
    expect(used.length).toBeGreaterThan(3);
  });

  test.for(ours.filter(([name]) => name !== "migrate"))(
    "%s is asked for its health where it answers",
    ([, service]) => {
      const probe = service.healthcheck?.test.join(" ") ?? "";
      const { port, pathname } = new URL(/"(http[^"]+)"/.exec(probe)?.[1] ?? "");
      const [wanted, where] =
        service.command?.[0] === "web"
          ? [service.environment.PORT ?? imageEnv.PORT, "/api/v1/health"]
          : [service.environment.SLUICE_HEALTH_PORT ?? imageEnv.SLUICE_HEALTH_PORT, "/health"];
      expect({ port, pathname }).toEqual({ port: wanted, pathname: where });
      expect(lines("EXPOSE").join(" ").split(" ")).toContain(port);
    },
  );

  test("the paths asked for health are served", () => {
    expect(text("worker/health.ts")).toContain(`"/health"`);
    expect(text("lib/contract/system.ts")).toContain(`path: "/health"`);
  });

  test("who runs the code of others is root with what isolating it takes, the rest are not root and have no power at all", () => {
    for (const [name, service] of ours) {
      const isolates = name === "worker" || name === "scheduler";
      expect([name, service.cap_drop, service.security_opt]).toEqual([name, ["ALL"], ["no-new-privileges:true"]]);
      expect([name, service.cap_add]).toEqual([name, isolates ? Object.keys(NEEDED_CAPABILITIES) : []]);
      // Undefined is the image's user.
      expect([name, service.user]).toEqual([name, isolates ? "0:0" : undefined]);
    }
    // On the way to their folders, and nothing to list.
    expect(lines("RUN").join("\n")).toContain(`chmod 711 ${imageEnv.SLUICE_HOME}`);
    const { worker, scheduler } = compose.services;
    expect(scheduler?.environment.SLUICE_TASK_USER).toBe(worker?.environment.SLUICE_TASK_USER);
    const range = /^(\d+)-(\d+)$/.exec(worker?.environment.SLUICE_TASK_USER ?? "");
    expect(Number(range?.[1])).toBeGreaterThan(Number(lines("USER").at(-1)!.split(":")[0]));
    expect(Number(range?.[2]) - Number(range?.[1])).toBeGreaterThan(900);
  });

  test("each process connects as its own role with its own password, and only the migration as the superuser", () => {
    const { environment: server } = compose.services.postgres!;
    expect(compose.services.migrate?.environment.DATABASE_URL).toMatch(
      new RegExp(`^postgres://${server.POSTGRES_USER}:`),
    );
    expect(compose.services.migrate?.environment.SLUICE_ROLE_PREFIX).toBeUndefined();
    for (const name of ["web", "scheduler", "worker"] as const) {
      const setting = `SLUICE_${name.toUpperCase()}_DB_PASSWORD`;
      const { environment } = compose.services[name]!;
      expect(environment.DATABASE_URL).toMatch(
        new RegExp(
          `^postgres://${rolesOf("sluice")[name]}:\\$\\{${setting}:\\?[^}]+\\}@postgres:5432/${server.POSTGRES_DB}$`,
        ),
      );
      expect(compose.services.migrate?.environment[setting]).toBe(`\${${setting}:?set ${setting}}`);
      // Nothing of another's, and nothing of the superuser's.
      const others = [
        "POSTGRES_PASSWORD",
        "ADMIN_PASSWORD",
        ...["WEB", "SCHEDULER", "WORKER"].map((one) => `${one}_DB_PASSWORD`),
      ].filter((one) => !setting.endsWith(one));
      for (const other of others) expect(JSON.stringify(environment), name).not.toContain(other);
    }
  });

  test("processes wait for the migration, and the migration for the database", () => {
    expect(compose.services.migrate?.depends_on.postgres?.condition).toBe("service_healthy");
    expect(compose.services.migrate?.restart).toBe("no");
    for (const name of ["web", "scheduler", "worker"]) {
      expect(compose.services[name]?.depends_on.migrate?.condition).toBe("service_completed_successfully");
    }
  });

  test("Postgres 18 keeps its data on the volume, below /var/lib/postgresql", () => {
    const { postgres } = compose.services;
    expect(postgres?.image).toBe("postgres:18");
    expect(postgres?.volumes).toEqual(["postgres:/var/lib/postgresql"]);
    expect(postgres?.ports).toEqual([]);
    expect(Object.keys(compose.volumes)).toEqual(["postgres"]);
  });

  test("nothing floats, nothing holds the machine: no `latest`, no Docker socket, no privileges, no public port", () => {
    const all = text("docker-compose.yml") + text("Dockerfile");
    expect(all).not.toMatch(/:latest|docker\.sock|privileged:|network_mode: *host/);
    for (const service of Object.values(compose.services)) {
      expect(service.image).toMatch(/:[\w.-]+$/);
      for (const port of service.ports) expect(port).toMatch(/^\$\{SLUICE_PUBLISH:-127\.0\.0\.1:\d+\}:\d+$/);
    }
  });
});
