import nextAuth from "next-auth";
import type { NextRequest } from "next/server";
import type pg from "pg";
import { z } from "zod";
import { webDeps } from "#lib/boot.ts";
import { endSessions } from "#lib/db/users.ts";
import { AppError, ERROR_CODES, messageOf } from "#lib/domain/errors.ts";
import { clientNetwork } from "#lib/domain/ip-range.ts";
import { AUTH_PATHS } from "./auth-paths.ts";
import { defaultOf } from "./interop.ts";
import { knownBrowsers } from "./known-browser.ts";
import { authOptions, cookieNames, isSecure, type SessionClaim } from "./next-auth.ts";
import { safePath } from "./safe-path.ts";
import { signIn, type SignInResult } from "./sign-in.ts";

const SignInForm = z.object({
  // Postgres text cannot hold a NUL.
  name: z
    .string()
    .min(1)
    .max(256)
    .regex(/^[^\0]*$/),
  password: z.string().min(1).max(1024),
});

export type AuthDeps = { pool: pg.Pool; sessionSecret: string; url: string };

/** Serves one of `AUTH_PATHS`. */
export async function serveAuth(
  request: NextRequest,
  context: { params: Promise<{ nextauth: string[] }> },
): Promise<Response> {
  const action = (await context.params).nextauth;
  try {
    const { engine, settings } = await webDeps();
    return await answerAuth(request, action, { pool: engine.pool, ...settings });
  } catch (error) {
    if (error instanceof AppError) return refusal(error);
    throw error;
  }
}

/**
 * The same on these dependencies. next-auth gets nothing but what was checked here: it fails on bodies, cookies and parameters that it
 * does not expect. Throws `AppError` for what is refused.
 */
export async function answerAuth(request: NextRequest, action: readonly string[], deps: AuthDeps): Promise<Response> {
  const path = action.join("/");
  if (!Object.hasOwn(AUTH_PATHS, path)) throw new AppError("not_found", "The sign-in has no such path.");
  if (request.method !== AUTH_PATHS[path])
    throw new AppError("invalid_request", `This path takes ${AUTH_PATHS[path]}.`, { status: 405 });
  const form = request.method === "POST" ? await readForm(request) : {};
  const trial = createTrial(request, deps);
  const options = authOptions(deps, {
    authorize: trial.authorize,
    signOut: (session) => endSessions(deps.pool, session),
  });
  const given = {
    method: request.method,
    headers: {},
    cookies: knownCookies(request, isSecure(deps.url)),
    query: { nextauth: action },
    body: form,
  };
  const response = collectResponse();
  // next-auth has no types for a request that is not Node's own.
  await (defaultOf(nextAuth) as unknown as NextAuthApi)(given, response.handle, options);
  return trial.finish(response);
}

type NextAuthApi = (request: object, response: object, options: object) => Promise<void>;

function refusal(error: AppError): Response {
  const status = (error.details["status"] as number | undefined) ?? ERROR_CODES[error.code];
  if (status >= 500) console.error(`sign-in failed: ${messageOf(error.details["error"])}`);
  const body = { type: "about:blank", title: error.code, status, detail: error.message, code: error.code };
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store" },
  });
}

const FORM = /^application\/x-www-form-urlencoded\s*(?:;|$)/i;
const FIELDS = ["csrfToken", "name", "password", "json"] as const;

async function readForm(request: Request): Promise<Record<string, string>> {
  if (!FORM.test(request.headers.get("content-type") ?? ""))
    throw new AppError("unsupported_media_type", "Send a form (application/x-www-form-urlencoded).");
  const sent = new URLSearchParams(await request.text());
  const known = FIELDS.flatMap((name) => (sent.has(name) ? [[name, sent.get(name)!] as const] : []));
  const target = sent.get("callbackUrl") ?? "";
  return { ...Object.fromEntries(known), ...(safePath(target) === target ? { callbackUrl: target } : {}) };
}

function knownCookies(request: NextRequest, secure: boolean): Record<string, string> {
  const { session, csrf } = cookieNames(secure);
  const known = request.cookies.getAll().filter(({ name }) => name === csrf || name.startsWith(session));
  return Object.fromEntries(known.map(({ name, value }) => [name, value]));
}

const BROWSER_COOKIE = "sluice.browser";
const BROWSER_DAYS = 180;

type Trial = { authorize(form: unknown): Promise<SessionClaim | null>; finish(response: Collected): Response };

/** The check of a password within one request, and what it adds to next-auth's own response. */
function createTrial(request: NextRequest, { pool, sessionSecret, url }: AuthDeps): Trial {
  const browsers = knownBrowsers(sessionSecret);
  const token = request.cookies.get(BROWSER_COOKIE)?.value;
  let result: SignInResult | undefined;
  let failure: { error: unknown } | undefined;
  let account = "";
  const authorize = async (form: unknown): Promise<SessionClaim | null> => {
    const parsed = SignInForm.safeParse(form);
    if (!parsed.success) return null;
    account = parsed.data.name;
    try {
      result = await signIn(pool, {
        ...parsed.data,
        address: addressOf(request.headers),
        browserId: browsers.idOf(token, account),
      });
    } catch (error) {
      failure = { error };
      return null;
    }
    // A thrown message reaches the sign-in form as its `error`.
    if (result.kind === "wait") throw new Error(`too_many_attempts:${result.seconds}`);
    return result.kind === "signed_in" ? result.user : null;
  };
  const finish = (response: Collected): Response => {
    // Its text may tell of the database.
    if (failure !== undefined) throw new AppError("unavailable", "Nobody can sign in now: the log says why.", failure);
    if (result?.kind === "wait") {
      response.status = 429;
      response.headers.set("retry-after", String(result.seconds));
    }
    if (result?.kind === "signed_in" && browsers.idOf(token, account) === undefined) {
      const rest = `Path=/api/auth; Max-Age=${BROWSER_DAYS * 86_400}; HttpOnly; SameSite=Strict${isSecure(url) ? "; Secure" : ""}`;
      response.headers.append("set-cookie", `${BROWSER_COOKIE}=${browsers.issue(account)}; ${rest}`);
    }
    return new Response(response.body, { status: response.status, headers: response.headers });
  };
  return { authorize, finish };
}

/** The last hop is what `cli/web-server.ts` has seen itself; earlier ones are the client's own words. */
function addressOf(headers: Headers): string {
  const last = headers.get("x-forwarded-for")?.split(",").at(-1)?.trim().slice(0, 64);
  return clientNetwork(last || "unknown");
}

type Collected = { status: number; headers: Headers; body: string | undefined };

/** What next-auth does to a response of Next's older kind, kept for one of the newer. */
function collectResponse(): Collected & { handle: object } {
  const kept: Collected = {
    status: 200,
    headers: new Headers({ "cache-control": "private, no-store" }),
    body: undefined,
  };
  const handle = {
    status(code: number) {
      kept.status = code;
      return handle;
    },
    getHeader: (name: string) => (/^set-cookie$/i.test(name) ? kept.headers.getSetCookie() : kept.headers.get(name)),
    setHeader(name: string, value: string | string[]) {
      kept.headers.delete(name);
      for (const one of [value].flat()) kept.headers.append(name, one);
      return handle;
    },
    json(body: unknown) {
      kept.headers.set("content-type", "application/json");
      kept.body = JSON.stringify(body);
    },
    send: (body: unknown) => (typeof body === "string" ? void (kept.body = body) : handle.json(body)),
    end: () => undefined,
  };
  return Object.assign(kept, { handle });
}
