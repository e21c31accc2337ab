import path from "node:path";
import { describe, expect, test } from "vitest";
import { childEnv, readSettings } from "./env.ts";

function problemsOf(env: Record<string, string>): string {
  const result = readSettings(env);
  return result.ok ? "" : result.problems.join("\n");
}

function settingsOf(env: Record<string, string>) {
  const result = readSettings(env);
  if (!result.ok) throw new Error(result.problems.join("; "));
  return result.settings;
}

describe("readSettings", () => {
  test("has a default for everything that has one", () => {
    expect(settingsOf({})).toMatchObject({
      port: 8080,
      host: "127.0.0.1",
      url: "http://localhost:8080",
      databaseUrl: undefined,
      home: path.resolve(".sluice"),
      dagsDir: path.resolve("dags"),
      logLevel: "info",
      healthPort: 0,
      queues: ["default"],
    });
  });

  test("takes an empty variable as unset", () => {
    expect(settingsOf({ PORT: "", DATABASE_URL: "", SLUICE_API_TOKEN: "" }).port).toBe(8080);
  });

  test("derives the address from the port and drops a slash at its end", () => {
    expect(settingsOf({ PORT: "9000" }).url).toBe("http://localhost:9000");
    expect(settingsOf({ SLUICE_URL: "https://flows.example.org/" }).url).toBe("https://flows.example.org");
  });

  test("tells plugins that are files from packages, and takes files from the working folder", () => {
    const { plugins } = settingsOf({ SLUICE_PLUGINS: "./a.ts, b/c.js,/d/e.mjs,@acme/sluice-mail,acme-fax/more" });
    expect(plugins).toEqual([
      path.resolve("a.ts"),
      path.resolve("b/c.js"),
      "/d/e.mjs",
      "@acme/sluice-mail",
      "acme-fax/more",
    ]);
  });

  test("splits the queue list", () => {
    expect(settingsOf({ SLUICE_QUEUES: "default, gpu ,gpu" }).queues).toEqual(["default", "gpu"]);
  });

  test.each([
    ["PORT", "0", 'PORT "0" cannot be used; allowed: a whole number from 1 to 65535'],
    ["PORT", "65536", "from 1 to 65535"],
    ["PORT", "80a", 'PORT "80a"'],
    ["HOST", "a b", 'HOST "a b"'],
    ["SLUICE_URL", "ftp://x", "http:// or https://"],
    ["SLUICE_URL", "nonsense", "http:// or https://"],
    ["LOG_LEVEL", "loud", "trace, debug, info"],
    ["SLUICE_WORKER_NAME", "No Spaces", "SLUICE_WORKER_NAME"],
    ["SLUICE_QUEUES", ",", "queue names separated by commas"],
    ["SLUICE_PLUGINS", ",", "files like ./plugins/mail.ts and names of packages"],
    ["SLUICE_PLUGINS", "https://x.example/a.js", "files like ./plugins/mail.ts"],
    ["SLUICE_PROCESS_SLOTS", "0", "from 1 to 1000"],
    ["SLUICE_FUNCTION_SLOTS", "-1", "from 1 to 1000"],
    ["SLUICE_HEALTH_PORT", "70000", "from 0 to 65535"],
    ["SLUICE_DOCKER_HOST", "/var/run/docker.sock", "an address like unix:///var/run/docker.sock or tcp://"],
    ["SLUICE_DOCKER_HOST", "tcp://", "an address like"],
    ["SLUICE_DOCKER_HOST", "https://engine.internal", "an address like"],
    ["SLUICE_DOCKER_MOUNTS", "/srv/in,data", "absolute folders separated by commas"],
    ["SLUICE_DOCKER_MOUNTS", "/srv/in:ro", "with :rw behind those that may be written"],
    ["SLUICE_PROT", "1", "SLUICE_PROT is not a setting of Sluice"],
    ["SLUICE_DAG_DIR", "x", "did you mean SLUICE_DAGS_DIR?"],
    ["SLUICE_API_TOKENS", "x", "did you mean SLUICE_API_TOKEN?"],
  ])("names %s=%s and says what is allowed", (name, value, expected) => {
    expect(problemsOf({ [name]: value })).toContain(expected);
  });

  test.each([
    ["DATABASE_URL", "mysql://root:hunter2@x"],
    ["SLUICE_ADMIN_PASSWORD", "hunter2"],
    ["SLUICE_API_TOKEN", "hunter2 with spaces"],
    ["SLUICE_SESSION_SECRET", "hunter2"],
  ])("never repeats the value of %s", (name, value) => {
    expect(problemsOf({ [name]: value })).toContain(`${name} cannot be used`);
    expect(problemsOf({ [name]: value })).not.toContain("hunter2");
  });

  test("lists every problem at once", () => {
    expect(problemsOf({ PORT: "x", LOG_LEVEL: "x", SLUICE_X: "x" }).split("\n")).toHaveLength(3);
  });
});

test("a child reads the same settings, without the admin password", () => {
  const settings = settingsOf({
    PORT: "9001",
    DATABASE_URL: "postgres://u:p@h/db",
    SLUICE_QUEUES: "a,b",
    SLUICE_ADMIN_PASSWORD: "long enough",
    SLUICE_WORKER_NAME: "w1",
    SLUICE_PLUGINS: "./a.ts,acme-fax",
    SLUICE_SECRETS_FILE: "secrets.json",
    SLUICE_DOCKER_HOST: "tcp://[::1]:2375",
    SLUICE_DOCKER_MOUNTS: "/srv/in, /srv/out:rw",
  });
  expect(settings.secretsFile).toBe(path.resolve("secrets.json"));
  const env = childEnv(settings, { SLUICE_WORKER_NAME: "w2" });
  expect(settingsOf(env)).toEqual({ ...settings, adminPassword: undefined, workerName: "w2" });
});
