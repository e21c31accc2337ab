import { mkdtemp, mkdir, realpath, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createMountGuard } from "./mounts.ts";

let root: string;
beforeAll(async () => {
  root = await realpath(await mkdtemp(path.join(os.tmpdir(), "sluice-mounts-")));
  for (const folder of ["in/day", "in2", "out/day", "secret"])
    await mkdir(path.join(root, folder), { recursive: true });
  await writeFile(path.join(root, "in/file"), "");
  await symlink(path.join(root, "in"), path.join(root, "alias"));
  await symlink("../secret", path.join(root, "in/leak"));
  await symlink("../in/day", path.join(root, "in2/back"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** What becomes of a mount of a folder below the root: where it leads, or the error. */
async function mounted(
  source: string,
  { readOnly = true, isHere = true, allowed = ["/in", "/out:rw"] } = {},
): Promise<string> {
  const guard = createMountGuard(allowed.map((name) => `${root}${name}`));
  const wanted = source.startsWith("/") ? `${root}${source}` : source;
  try {
    const [mount] = await guard([{ source: wanted, target: "/data", readOnly }], isHere);
    expect(mount).toMatchObject({ target: "/data", readOnly });
    return mount!.source.replace(root, "");
  } catch (error) {
    return String(error);
  }
}

test("folders that are named, and what lies in them, may be mounted; links and .. are followed to where they lead", async () => {
  expect(await mounted("/in")).toBe("/in");
  expect(await mounted("/in/day/")).toBe("/in/day");
  expect(await mounted("/out/../in/./day")).toBe("/in/day");
  expect(await mounted("/alias/day")).toBe("/in/day");
  expect(await mounted("/in2/back")).toBe("/in/day");
  expect(await mounted("/in/day", { allowed: ["/alias"] })).toBe("/in/day");
});

test.each(["/in2", "/secret", "/", "/in/..", "/in/leak", "/in/../secret", "/in/leak/../secret", "/nowhere"])(
  "%s is refused, with what is allowed",
  async (source) => {
    const error = await mounted(source);
    expect(error).toContain(`is not mounted: this worker does not allow it. SLUICE_DOCKER_MOUNTS allows ${root}/in, `);
    expect(error).toContain(`${root}/out (to write as well)`);
  },
);

test("nothing is allowed where nothing is named", async () => {
  expect(await mounted("/in", { allowed: [] })).toContain("SLUICE_DOCKER_MOUNTS allows no folder on this worker");
});

test("a relative path, a file and a folder that is not there are told as such", async () => {
  expect(await mounted("in")).toContain("it must be an absolute path, like /srv/data");
  expect(await mounted("/in/file")).toContain("this worker sees no such folder");
  expect(await mounted("/in/nowhere")).toContain("this worker sees no such folder");
});

test("a container writes only where the worker says so, and there only the folder itself is mounted", async () => {
  expect(await mounted("/out", { readOnly: false })).toBe("/out");
  expect(await mounted("/in", { readOnly: false })).toContain("it may only be read; readOnly must not be false");
  const inside = `of ${root}/out, where containers may write, only the folder itself can be mounted`;
  expect(await mounted("/out/day", { readOnly: false })).toContain(inside);
  expect(await mounted("/out/day")).toContain(inside);
  expect(await mounted("/out/day", { allowed: ["", "/out:rw"] })).toContain(inside);
});

test("of an engine elsewhere only what is named is mounted, because its links cannot be seen", async () => {
  expect(await mounted("/in", { isHere: false })).toBe("/in");
  expect(await mounted("/in2/../in", { isHere: false })).toBe("/in");
  expect(await mounted("/gone", { isHere: false, allowed: ["/gone"] })).toBe("/gone");
  expect(await mounted("/in/day", { isHere: false })).toContain("of a container engine on another machine only");
  expect(await mounted("/in", { isHere: false, readOnly: false })).toContain("it may only be read");
});
