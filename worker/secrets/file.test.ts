import { chmod, mkdtemp, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createFileSecrets, secretsOf } from "./file.ts";
import { NO_SECRETS, type SecretProvider } from "./provider.ts";

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-secrets-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  file = path.join(folder, "secrets.json");
  await rm(file, { recursive: true, force: true });
});

const CANARY = "hunter2-hunter2";
const write = (text: string, mode = 0o600): Promise<void> => writeFile(file, text, { mode });

async function valuesOf(provider: SecretProvider, names: string[]): Promise<Record<string, string>> {
  const found = await provider.get(names);
  if (!found.ok) throw new Error(found.error);
  return Object.fromEntries(found.values);
}

async function errorOf(names: string[] = ["TOKEN"], user?: number): Promise<string> {
  const found = await createFileSecrets(file, user).get(names);
  return found.ok ? "" : found.error;
}

describe("the secrets file", () => {
  test("gives what is asked for and there, of any number of lines", async () => {
    await write(JSON.stringify({ TOKEN: CANARY, KEY: "-----BEGIN-----\nabc\n-----END-----\n", OTHER: "other-secret" }));
    expect(await valuesOf(createFileSecrets(file), ["TOKEN", "KEY", "NONE"])).toEqual({
      TOKEN: CANARY,
      KEY: "-----BEGIN-----\nabc\n-----END-----\n",
    });
    expect(secretsOf(undefined)).toBe(NO_SECRETS);
    expect(await valuesOf(NO_SECRETS, ["TOKEN"])).toEqual({});
  });

  test("is read again when it was changed or replaced, and only then", async () => {
    await write(JSON.stringify({ TOKEN: CANARY }));
    const provider = createFileSecrets(file);
    expect(await valuesOf(provider, ["TOKEN"])).toEqual({ TOKEN: CANARY });
    await write(JSON.stringify({ TOKEN: "hunter3-hunter3" }));
    await utimes(file, new Date(), new Date("2030-01-01"));
    expect(await valuesOf(provider, ["TOKEN"])).toEqual({ TOKEN: "hunter3-hunter3" });
    await writeFile(`${file}.new`, JSON.stringify({ TOKEN: "hunter4-hunter4" }), { mode: 0o600 });
    await rename(`${file}.new`, file);
    expect(await valuesOf(provider, ["TOKEN"])).toEqual({ TOKEN: "hunter4-hunter4" });
  });

  test("may be reached by a link, as where a cluster mounts it", async () => {
    await writeFile(path.join(folder, "data.json"), JSON.stringify({ TOKEN: CANARY }), { mode: 0o400 });
    await symlink("data.json", file);
    expect(await valuesOf(createFileSecrets(file), ["TOKEN"])).toEqual({ TOKEN: CANARY });
  });

  test("must be a file that only its owner can use, who is the worker's user or root", async () => {
    await write(JSON.stringify({ TOKEN: CANARY }));
    for (const mode of [0o640, 0o604, 0o610, 0o602]) {
      await chmod(file, mode);
      expect(await errorOf()).toMatch(new RegExp(`has mode 0${mode.toString(8)}, .* \\(chmod 600\\)$`));
      // Checked before every answer, not only when the file is read.
      expect(await errorOf([])).toContain("chmod 600");
    }
    await chmod(file, 0o600);
    const owner = process.getuid!();
    const asOther = await errorOf(["TOKEN"], owner + 1);
    // Root's files are everybody's to be given.
    if (owner === 0) expect(asOther).toBe("");
    else expect(asOther).toMatch(new RegExp(`belongs to user ${owner}; it must belong to user ${owner + 1}, .*chown`));
  });

  test("that is none is told as what it is", async () => {
    expect(await errorOf()).toMatch(/secrets.json does not exist; SLUICE_SECRETS_FILE names it$/);
    // Nobody writes into this pipe: whoever opened it to wait for a writer would hang.
    execFileSync("bash", ["-c", `mkfifo -m 600 "$1"`, "bash", file]);
    expect(await errorOf()).toMatch(/is not a regular file; it must be one JSON object/);
    await rm(file);
    await symlink(folder, file);
    expect(await errorOf()).toMatch(/is not a regular file/);
  });

  test.each([
    ["", /is not JSON; it must be one JSON object of texts, like/],
    [`{"TOKEN": ${CANARY}}`, /is not JSON/],
    [`{"TOKEN": "${CANARY}"\n"KEY": "x"}`, /is not JSON \(line 2 column 1\)/],
    [`["${CANARY}"]`, /holds no object/],
    [`"${CANARY}"`, /holds no object/],
    [`{"TOKEN": ["${CANARY}"]}`, /"TOKEN" in the file .* is not a text; put its value into quotes/],
    [`{"TOKEN": "hunter2"}`, /"TOKEN" in the file .* has fewer than 8 characters/],
    [`{"TOKEN": "${CANARY}\\u0000"}`, /holds a NUL character/],
    [`{"TOKEN": "${"x".repeat(1_100_000)}"}`, /more than 1048576 bytes/],
  ])("%s: is refused without a word of what it holds", async (text, expected) => {
    await write(text);
    const error = await errorOf();
    expect(error).toMatch(/^the secrets cannot be read: /);
    expect(error).toMatch(expected);
    expect(error).not.toContain("hunter2");
  });

  test("with a bad secret still gives the good ones", async () => {
    await write(JSON.stringify({ TOKEN: CANARY, SHORT: "x" }));
    expect(await valuesOf(createFileSecrets(file), ["TOKEN"])).toEqual({ TOKEN: CANARY });
    expect(await errorOf(["TOKEN", "SHORT"])).toMatch(/"SHORT"/);
  });
});
