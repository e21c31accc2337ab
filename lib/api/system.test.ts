import { expect, test } from "vitest";
import type { WebDeps } from "#lib/boot.ts";
import { systemHandlers } from "./system.ts";

const noDeps = (): Promise<WebDeps> => Promise.reject(new Error("not asked for"));
const asking = (headers: Record<string, string> = {}) => ({ headers: new Headers(headers) });

test("the schema is made once for all who ask, and not sent to who has it", async () => {
  const first = (await systemHandlers.dagSchema(noDeps, asking())) as Response;
  const etag = first.headers.get("etag")!;
  expect(await first.json()).toMatchObject({ title: "Sluice DAG" });
  expect(etag).toMatch(/^"[\w-]{43}"$/);
  const again = (await systemHandlers.dagSchema(noDeps, asking({ "if-none-match": `W/"x", ${etag}` }))) as Response;
  expect([again.status, again.headers.get("etag"), await again.text()]).toEqual([304, etag, ""]);
  const before = process.cpuUsage().user;
  for (let n = 0; n < 2_000; n++) await systemHandlers.dagSchema(noDeps, asking());
  // To make it takes some forty milliseconds, two thousand times more than a minute.
  expect((process.cpuUsage().user - before) / 1_000_000).toBeLessThan(10);
});
