import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { authenticate, type Credentials } from "./authenticate.ts";
import { ownAddresses } from "./own-addresses.ts";

const TOKEN = "a-token-of-enough-length";
const credentials: Credentials = {
  apiTokenHash: createHash("sha256").update(TOKEN).digest(),
  addresses: ownAddresses(["https://sluice.example"]),
  sessionUser: () => Promise.resolve({ name: "ada", role: "operator", stillAllowed: () => Promise.resolve(true) }),
};
const nobody: Credentials = { ...credentials, sessionUser: () => Promise.resolve(undefined) };

const request = (method: string, headers: Record<string, string>): Request =>
  new Request("https://sluice.example/api/v1/dags", { method, headers });

test("the token is let in, whatever the case of the scheme", async () => {
  const actor = { kind: "token", name: "api-token", role: "admin" };
  expect(await authenticate(request("POST", { authorization: `Bearer ${TOKEN}` }), nobody)).toMatchObject(actor);
  expect(await authenticate(request("POST", { authorization: `bearer ${TOKEN}` }), nobody)).toMatchObject(actor);
});

test.each([`Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, "Bearer", "Bearer ", `Basic ${TOKEN}`, TOKEN, ""])(
  "authorization %j is refused, also for a browser with a session",
  async (authorization) => {
    await expect(authenticate(request("GET", { authorization }), credentials)).rejects.toMatchObject({
      code: "unauthenticated",
    });
  },
);

test("without token and session nobody is let in", async () => {
  await expect(authenticate(request("GET", {}), nobody)).rejects.toMatchObject({ code: "unauthenticated" });
});

test.each<Record<string, string>>([
  { origin: "https://evil.example" },
  { origin: "http://sluice.example", host: "sluice.example" },
  { "sec-fetch-site": "cross-site" },
  { "sec-fetch-site": "same-site", origin: "https://sluice.example" },
  { "sec-fetch-site": "same-origin", origin: "null" },
  {},
])("a change by cookie from %j is refused", async (headers) => {
  await expect(authenticate(request("POST", headers), credentials)).rejects.toMatchObject({ code: "forbidden" });
});

test("the console's own page may change, and anybody's link may read", async () => {
  const own = { "sec-fetch-site": "same-origin", origin: "https://sluice.example" };
  expect(await authenticate(request("POST", own), credentials)).toMatchObject({
    kind: "user",
    name: "ada",
    role: "operator",
  });
  expect(await authenticate(request("GET", { "sec-fetch-site": "cross-site" }), credentials)).toMatchObject({
    name: "ada",
  });
});
