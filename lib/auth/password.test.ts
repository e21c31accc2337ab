import { expect, test } from "vitest";
import { hashPassword, verifyPassword } from "./password.ts";

test("a hash says how it was made, is salted, and fits its own password only", async () => {
  const [first, second] = await Promise.all([hashPassword("open sesame"), hashPassword("open sesame")]);
  expect(first).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  expect(second).not.toBe(first);
  expect(await verifyPassword("open sesame", first)).toBe(true);
  expect(await verifyPassword("open sesamE", first)).toBe(false);
  expect(await verifyPassword("", first)).toBe(false);
});

test("the two Unicode forms of one text are one password", async () => {
  expect(await verifyPassword("Z\u0075\u0308rich", await hashPassword("Z\u00fcrich"))).toBe(true);
});

test("an unknown user is refused after the same work", async () => {
  const started = performance.now();
  expect(await verifyPassword("anything", undefined)).toBe(false);
  const unknownMs = performance.now() - started;
  const hash = await hashPassword("x");
  const again = performance.now();
  await verifyPassword("y", hash);
  expect(unknownMs).toBeGreaterThan((performance.now() - again) / 5);
});

test("a damaged hash fits nothing", async () => {
  expect(await verifyPassword("x", "$2b$10$abcdefg")).toBe(false);
});
