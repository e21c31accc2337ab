import { expect, test } from "vitest";
import { loginPath, safePath } from "./safe-path.ts";

test.each([
  "https://evil.example",
  "//evil.example",
  "/\\evil.example",
  "/\t/evil.example",
  "dags",
  "javascript:alert(1)",
  undefined,
])("%s leads to the start page", (wanted) => {
  expect(safePath(wanted)).toBe("/dags");
});

test("a path of this site is kept with its query", () => {
  expect(safePath("/runs/7?task=load")).toBe("/runs/7?task=load");
  expect(loginPath("/runs/7?task=load")).toBe("/login?callbackUrl=%2Fruns%2F7%3Ftask%3Dload");
});
