import { execFile } from "node:child_process";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";

/** The examples that everybody reads first must be right. */

const ROOT = path.resolve(import.meta.dirname, "..");

function sluice(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env: plainEnv() };
    execFile(process.execPath, [path.join(ROOT, "cli/sluice.mjs"), ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

describe("the examples in dags/", () => {
  test("are valid", async () => {
    const { code, stdout, stderr } = await sluice("dags", "validate", "dags");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("0 problems, 0 warnings");
  });

  test.each([
    ["dags/report.yaml", '{"text": "one two three"}', ["report", "cleanup"], ["too_few"]],
    ["dags/report.yaml", '{"text": "one"}', ["too_few", "cleanup"], ["report"]],
    ["dags/etl.ts", "{}", ["extract", "transform"], []],
  ])("%s runs with %s", async (file, params, successful, skipped) => {
    const { code, stdout } = await sluice("dags", "test", file, "--params", params, "--json");
    expect(code).toBe(0);
    const states = new Map(
      (JSON.parse(stdout) as { tasks: { id: string; state: string }[] }).tasks.map(({ id, state }) => [id, state]),
    );
    for (const id of successful) expect(states.get(id)).toBe("success");
    for (const id of skipped) expect(states.get(id)).toBe("skipped");
  });
});
