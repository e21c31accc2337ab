import { execFileSync } from "node:child_process";
import { lstatSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { archiveBytes, fileInArchive, folderArchive } from "./tar.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "sluice-tar-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tar = (...args: string[]): Buffer => execFileSync("tar", ["-C", folder, ...args]);

describe("archives are those of tar", () => {
  test("it unpacks what is packed here: a folder that all may write to, and files", () => {
    const files = { "inputs.json": '{"ü":1}', "empty.json": "", "block.json": "x".repeat(512) };
    const packed = path.join(folder, "packed.tar");
    writeFileSync(packed, folderArchive("sluice", files));
    tar("-xpf", packed);
    for (const [name, text] of Object.entries(files))
      expect(readFileSync(path.join(folder, "sluice", name), "utf8")).toBe(text);
    expect(lstatSync(path.join(folder, "sluice")).mode & 0o777).toBe(0o777);
    expect(lstatSync(path.join(folder, "sluice/inputs.json")).mode & 0o777).toBe(0o644);
  });

  test.each(["ustar", "gnu", "pax"])("its file is read, in the format %s", (format) => {
    for (const text of ["", '{"a": 1}', "y".repeat(70_000)]) {
      writeFileSync(path.join(folder, "output.json"), text);
      const archive = tar(`--format=${format}`, "--blocking-factor=1", "-cf", "-", "output.json");
      expect(fileInArchive(archive)?.toString()).toBe(text);
      expect(archive.length).toBeLessThanOrEqual(archiveBytes(text.length));
    }
  });

  test("a link, a folder and an archive that is cut off hold no file", () => {
    symlinkSync("/etc/passwd", path.join(folder, "link"));
    expect(fileInArchive(tar("-cf", "-", "link"))).toBeUndefined();
    expect(fileInArchive(tar("-cf", "-", "--no-recursion", "."))).toBeUndefined();
    writeFileSync(path.join(folder, "large"), "z".repeat(5_000));
    expect(fileInArchive(tar("-cf", "-", "large").subarray(0, 4_000))).toBeUndefined();
    expect(fileInArchive(Buffer.alloc(0))).toBeUndefined();
    expect(fileInArchive(Buffer.alloc(10_240))).toBeUndefined();
  });
});
