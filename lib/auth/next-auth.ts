import type { NextAuthOptions } from "next-auth";
import credentials from "next-auth/providers/credentials";
import type pg from "pg";
import { z } from "zod";
import { endSessions, ROLES } from "#lib/db/users.ts";
import { clientNetwork } from "#lib/domain/ip-range.ts";
import { defaultOf } from "./interop.ts";
import { signIn } from "./sign-in.ts";

/** What a session carries. Only `id` and `sessionVersion` are believed; the rest is read again per request. */
export const SessionUser = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(ROLES),
  sessionVersion: z.number().int(),
});
export type SessionUser = z.infer<typeof SessionUser>;

const SignInForm = z.object({
  // Postgres text cannot hold a NUL.
  name: z
    .string()
    .min(1)
    .max(256)
    .regex(/^[^\0]*$/),
  password: z.string().min(1).max(1024),
});

const SESSION_SECONDS = 12 * 60 * 60;

/** next-auth as this console uses it: names and passwords of our own, the session in a signed cookie. */
export function authOptions(deps: { pool: pg.Pool; sessionSecret: string }): NextAuthOptions {
  const password = defaultOf(credentials)({
    name: "Password",
    credentials: { name: { label: "Name" }, password: { label: "Password", type: "password" } },
    authorize: (form, request) => authorize(deps.pool, form, request.headers),
  });
  return {
    providers: [password],
    secret: deps.sessionSecret,
    pages: { signIn: "/login", error: "/login" },
    session: { strategy: "jwt", maxAge: SESSION_SECONDS },
    events: {
      // A signed cookie cannot be taken back, so signing out ends what it stands for: every session of the user.
      signOut: async ({ token }) => {
        const session = SessionUser.safeParse(token?.["sluice"]);
        if (session.success) await endSessions(deps.pool, session.data.id);
      },
    },
    callbacks: {
      jwt: ({ token, user }) => (user ? { ...token, sluice: SessionUser.parse(user) } : token),
      session: ({ session, token }) => ({ ...session, user: token["sluice"] as SessionUser }),
    },
  };
}

/** A thrown message reaches the sign-in form as its `error`. */
async function authorize(pool: pg.Pool, form: unknown, headers: unknown): Promise<SessionUser | null> {
  const parsed = SignInForm.safeParse(form);
  if (!parsed.success) return null;
  const result = await signIn(pool, { ...parsed.data, address: addressOf(headers) });
  if (result.kind === "too_many") throw new Error("too_many_attempts");
  return result.kind === "signed_in" ? SessionUser.parse(result.user) : null;
}

/** The last hop is what `cli/web-server.ts` has seen itself; earlier ones are the client's own words. */
function addressOf(headers: unknown): string {
  const forwarded = z.object({ "x-forwarded-for": z.string() }).safeParse(headers);
  const hops = forwarded.success ? forwarded.data["x-forwarded-for"].split(",") : [];
  return clientNetwork(hops.at(-1)?.trim().slice(0, 64) || "unknown");
}
