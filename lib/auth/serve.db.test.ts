import { NextRequest } from "next/server";
import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { createPool } from "#lib/db/pool.ts";
import { endSessions, findUserByName } from "#lib/db/users.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { AUTH_PATHS } from "./auth-paths.ts";
import { ensureAdmin } from "./ensure-admin.ts";
import { SESSION_SECONDS } from "./next-auth.ts";
import { answerAuth, type AuthDeps } from "./serve.ts";
import { findSessionUser, readSessionClaim } from "./session.ts";

const database = testDatabase();
const PASSWORD = "a good long password";
const URL_HERE = "http://localhost:8080";
const sessionSecret = "0123456789abcdef0123456789abcdef";

let deps: AuthDeps;

beforeAll(async () => {
  deps = { pool: database.pool, sessionSecret, url: URL_HERE };
  await ensureAdmin(database.pool, PASSWORD);
});
beforeEach(() => database.pool.query("truncate sluice.sign_in_failure"));

type Jar = Map<string, string>;
type Sent = { jar?: Jar; form?: Record<string, string>; body?: string; type?: string; address?: string };

async function call(path: string, sent: Sent = {}, on = deps): Promise<Response> {
  const { jar } = sent;
  const response = await answerAuth(requestOf(path, sent, on), path.split("/"), on);
  for (const text of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(text)!;
    if (value === "") jar?.delete(name!);
    else jar?.set(name!, value!);
  }
  return response;
}

function requestOf(path: string, { jar, form, type, address = "192.0.2.1", ...sent }: Sent, on: AuthDeps): NextRequest {
  const cookie = [...(jar ?? [])].map(([name, value]) => `${name}=${value}`).join("; ");
  const body = form === undefined ? sent.body : new URLSearchParams(form).toString();
  return new NextRequest(`${on.url}/api/auth/${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { cookie, "content-type": type ?? "application/x-www-form-urlencoded", "x-forwarded-for": address },
    ...(body === undefined ? {} : { body }),
  });
}

async function signIn(jar: Jar, password: string, address?: string, on = deps): Promise<Response> {
  const { csrfToken } = (await (await call("csrf", { jar }, on)).json()) as { csrfToken: string };
  const form = { csrfToken, name: "admin", password, json: "true", callbackUrl: "/dags" };
  return call("callback/credentials", { jar, form, ...(address === undefined ? {} : { address }) }, on);
}

const errorOf = async (response: Response): Promise<string | null> =>
  new URL(((await response.json()) as { url: string }).url).searchParams.get("error");

const userOf = async (jar: Jar, on = deps): Promise<string | undefined> => {
  const claim = await readSessionClaim(on, Object.fromEntries(jar));
  return claim && (await findSessionUser(on.pool, claim))?.name;
};

describe("a session", () => {
  test("begins with the right password, ends with the sign-out, and is not given out again", async () => {
    const jar: Jar = new Map();
    expect((await signIn(jar, PASSWORD)).status).toBe(200);
    expect(await userOf(jar)).toBe("admin");
    const before = new Map(jar);
    const { csrfToken } = (await (await call("csrf", { jar })).json()) as { csrfToken: string };
    expect((await call("signout", { jar, form: { csrfToken, json: "true", callbackUrl: "/login" } })).status).toBe(200);
    expect([await userOf(jar), await userOf(before)]).toEqual([undefined, undefined]);
    // The old cookie is no means to end the sessions that were made after it.
    const later: Jar = new Map();
    await signIn(later, PASSWORD);
    await call("signout", { jar: before, form: { csrfToken, json: "true" } });
    expect(await userOf(later)).toBe("admin");
  });

  test("is over when its version was raised, and no path makes its cookie anew", async () => {
    const jar: Jar = new Map();
    await signIn(jar, PASSWORD);
    const token = jar.get("next-auth.session-token");
    for (const [path, method] of Object.entries(AUTH_PATHS)) if (method === "GET") await call(path, { jar });
    expect(jar.get("next-auth.session-token")).toBe(token);
    await expect(call("session", { jar })).rejects.toMatchObject({ code: "not_found" });
    await endSessions(database.pool, (await findUserByName(database.pool, "admin"))!);
    expect(await userOf(jar)).toBeUndefined();
  });

  test("ends twelve hours after the sign-in", async () => {
    const jar: Jar = new Map();
    await signIn(jar, PASSWORD);
    const claim = (): Promise<unknown> => readSessionClaim(deps, Object.fromEntries(jar));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + (SESSION_SECONDS - 60) * 1_000 });
    expect(await claim()).toBeDefined();
    vi.setSystemTime(Date.now() + 120_000);
    expect(await claim()).toBeUndefined();
    expect(SESSION_SECONDS).toBe(12 * 60 * 60);
    vi.useRealTimers();
  });

  test("of an https address has cookies that only https pages can set", async () => {
    const on = { ...deps, url: "https://sluice.example" };
    const jar: Jar = new Map();
    await signIn(jar, PASSWORD, undefined, on);
    expect([...jar.keys()].toSorted()).toEqual([
      "__Host-next-auth.csrf-token",
      "__Secure-next-auth.callback-url",
      "__Secure-next-auth.session-token",
      "sluice.browser",
    ]);
    expect([await userOf(jar, on), await userOf(jar)]).toEqual(["admin", undefined]);
  });
});

describe("a sign-in", () => {
  test("that has to wait says how long, in words of HTTP and of the form", async () => {
    const jar: Jar = new Map();
    for (let n = 0; n < 6; n++) expect(await errorOf(await signIn(jar, "wrong"))).toBe("CredentialsSignin");
    const response = await signIn(jar, PASSWORD);
    expect([response.status, response.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await errorOf(response)).toBe("too_many_attempts:1");
  });

  test("in a browser of the account's owner waits for nobody's mistakes; elsewhere its token is worth nothing", async () => {
    const jar: Jar = new Map();
    await signIn(jar, PASSWORD);
    const token = jar.get("sluice.browser")!;
    for (let n = 0; n < 8; n++) await signIn(new Map(), "wrong");
    expect((await signIn(new Map(), PASSWORD)).status).toBe(429);
    expect((await signIn(new Map([["sluice.browser", token]]), PASSWORD)).status).toBe(200);
    const forged = `${token.slice(0, 5)}${token[5] === "A" ? "B" : "A"}${token.slice(6)}`;
    for (const value of [forged, token.slice(0, -1), `${token}.`, "x.y", ""])
      expect((await signIn(new Map([["sluice.browser", value]]), PASSWORD)).status, value).toBe(429);
    // The cookie stays the same as long as it is good.
    expect(jar.get("sluice.browser")).toBe(token);
    await signIn(jar, PASSWORD);
    expect(jar.get("sluice.browser")).toBe(token);
  });

  test("without a database is unavailable, and says nothing of the database", async () => {
    const pool = createPool({
      url: "postgres://nobody:hidden@127.0.0.1:1/none",
      max: 1,
      name: "away",
      queryTimeoutMs: 1_000,
    });
    await expect(signIn(new Map(), PASSWORD, undefined, { ...deps, pool })).rejects.toMatchObject({
      code: "unavailable",
      message: expect.not.stringContaining("127.0.0.1"),
    });
    await pool.end();
  });
});

describe("what next-auth does not expect", () => {
  const POSTS = Object.keys(AUTH_PATHS).filter((path) => AUTH_PATHS[path] === "POST");

  test.each([
    "application/json",
    "multipart/form-data; boundary=x",
    "text/plain",
    "",
    "application/x-www-form-urlencodedx",
  ])("a body of type %j is refused", async (type) => {
    for (const path of POSTS)
      await expect(call(path, { body: "{x", type })).rejects.toMatchObject({ code: "unsupported_media_type" });
  });

  test.each([
    "next-auth.callback-url=javascript:x",
    "next-auth.callback-url=%",
    "next-auth.session-token=x",
    "next-auth.session-token.0=x; next-auth.session-token.7=y; next-auth.session-token.z=1",
    "next-auth.csrf-token=%ff|",
    "next-auth.csrf-token=|||",
    "__proto__=x; =; ;;",
    "sluice.browser=%00",
  ])("the cookies %j do no harm", async (cookie) => {
    for (const [path, method] of Object.entries(AUTH_PATHS)) {
      const sent =
        method === "GET" ? {} : { form: { csrfToken: "x|y", name: "\0", password: "", callbackUrl: "javascript:x" } };
      expect((await call(path, { ...sent, jar: new Map([["x", `1; ${cookie}`]]) })).status, path).toBeLessThan(500);
    }
  });

  test("its other paths and methods are not served", async () => {
    for (const path of [
      "session",
      "signin",
      "error",
      "verify-request",
      "_log",
      "callback/nope",
      "__proto__",
      "constructor",
    ])
      await expect(call(path), path).rejects.toMatchObject({ code: "not_found" });
    await expect(call("signout")).rejects.toMatchObject({ details: { status: 405 } });
    await expect(call("csrf", { body: "" })).rejects.toMatchObject({ details: { status: 405 } });
  });
});
