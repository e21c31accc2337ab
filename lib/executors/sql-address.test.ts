import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { readAddress } from "./sql-address.ts";

const read = async (text: string): Promise<unknown> => {
  const result = await readAddress(text);
  return result.ok ? result.address : result.error;
};

test("an address is taken apart, with everything that is encoded", async () => {
  expect(
    await read("postgres://etl:p%40ss%2Fw@db.internal:6432/ware%20house?options=-c%20search_path%3Dsales"),
  ).toEqual({
    host: "db.internal",
    port: 6432,
    user: "etl",
    password: "p@ss/w",
    database: "ware house",
    options: "-c search_path=sales",
    ssl: false,
  });
  expect(await read("postgresql://u@[::1]/d")).toMatchObject({ host: "::1", port: 5432, password: "" });
});

test.each([
  ["disable", false],
  ["prefer", { rejectUnauthorized: true }],
  ["require", { rejectUnauthorized: true }],
  ["verify-ca", { rejectUnauthorized: true }],
  ["verify-full", { rejectUnauthorized: true }],
  ["no-verify", { rejectUnauthorized: false }],
])("sslmode=%s is what pg makes of it", async (mode, ssl) => {
  expect(await read(`postgres://u:p@h/d?sslmode=${mode}`)).toMatchObject({ ssl });
});

test.each([
  ["", /is not one; it must be like postgres:/],
  ["mysql://u:hunter2@h/d", /is not one/],
  ["host=h user=u password=hunter2", /is not one/],
  ["postgres://u:hun/ter2@h/d", /is not one/],
  ["postgres://u:hunter2%@h/d", /holds a % that begins no escape/],
  ["postgres://h/d", /has no user/],
  ["postgres://u:hunter2@h", /has no database/],
  ["postgres://u:hunter2@/d", /is not one/],
  ["postgres://u:hunter2@%2Fvar%2Frun/d", /has no host name/],
  ["postgres://u:hunter2@h/d?host=/var/run", /has a parameter that is not known here; those that are: sslmode/],
  ["postgres://u@h/d?password=hunter2", /has a parameter that is not known/],
  ["postgres://u:hunter2@h/d?sslmode=allow", /has an sslmode that is not known; those that are: disable/],
  ["postgres://u:hunter2@h/d?sslrootcert=/no/such/hunter2", /names a file as sslrootcert .* cannot read \(ENOENT\)/],
])("%s is refused without a word of it", async (text, expected) => {
  const error = await read(text);
  expect(error).toMatch(expected);
  expect(error).toMatch(/^the database's address \(connection\) /);
  expect(error).not.toContain("hunter2");
});

test("a certificate is a regular file of a certificate's size, and nothing that blocks or never ends", async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-pem-"));
  const file = path.join(folder, "ca.pem");
  await writeFile(file, "PEM");
  await symlink(file, path.join(folder, "link"));
  await promisify(execFile)("mkfifo", [path.join(folder, "fifo")]);
  await writeFile(path.join(folder, "large"), Buffer.alloc(64 * 1024 + 1));
  const ca = (name: string): Promise<unknown> => read(`postgres://u@h/d?sslmode=require&sslrootcert=${name}`);
  expect(await ca(file)).toMatchObject({ ssl: { ca: "PEM" } });
  // More than there are threads that open files.
  const fifos = Array.from({ length: 8 }, () => ca(path.join(folder, "fifo")));
  for (const answer of await Promise.all(fifos)) expect(answer).toMatch(/cannot read \(ENOTFILE\)/);
  expect(await ca(path.join(folder, "link"))).toMatch(/cannot read \(ELOOP\)/);
  expect(await ca(path.join(folder, "large"))).toMatch(/cannot read \(EFBIG\)/);
  expect(await ca(folder)).toMatch(/cannot read \(ENOTFILE\)/);
  expect(await ca("/dev/zero")).toMatch(/cannot read \(ENOTFILE\)/);
  await rm(folder, { recursive: true });
});
