import type { NextAuthOptions } from "next-auth";
import credentials from "next-auth/providers/credentials";
import { z } from "zod";
import { defaultOf } from "./interop.ts";

/** What a session cookie says. It is believed as long as the user's row has the same `sessionVersion`. */
export const SessionClaim = z.object({ id: z.string().regex(/^\d{1,18}$/), sessionVersion: z.number().int() });
export type SessionClaim = z.infer<typeof SessionClaim>;

/** After so much time a person signs in again, whatever happened meanwhile: a cookie is made at the sign-in, and never anew. */
export const SESSION_SECONDS = 12 * 60 * 60;

/** Cookies of an https address have names that only https pages can set. */
export function isSecure(url: string): boolean {
  return URL.parse(url)?.protocol === "https:";
}

/** The names that next-auth's own readers expect; a long session token is split, with `.0`, `.1` and so on behind the name. */
export function cookieNames(secure: boolean): { session: string; csrf: string } {
  return secure
    ? { session: "__Secure-next-auth.session-token", csrf: "__Host-next-auth.csrf-token" }
    : { session: "next-auth.session-token", csrf: "next-auth.csrf-token" };
}

export type AuthCalls = {
  /** Who has signed in with this form; null when nobody has. */
  authorize(form: unknown): Promise<SessionClaim | null>;
  signOut(session: SessionClaim): Promise<void>;
};

/** next-auth as this console uses it: names and passwords of our own, the session in a signed cookie. */
export function authOptions(
  { sessionSecret, url }: { sessionSecret: string; url: string },
  calls: AuthCalls,
): NextAuthOptions {
  const password = defaultOf(credentials)({
    name: "Password",
    credentials: { name: { label: "Name" }, password: { label: "Password", type: "password" } },
    authorize: (form) => calls.authorize(form),
  });
  return {
    providers: [password],
    secret: sessionSecret,
    useSecureCookies: isSecure(url),
    pages: { signIn: "/login", error: "/login" },
    session: { strategy: "jwt", maxAge: SESSION_SECONDS },
    // The token's own limit is another one, of thirty days; the session's is that of the cookie in the browser.
    jwt: { maxAge: SESSION_SECONDS },
    events: {
      signOut: async ({ token }) => {
        const session = SessionClaim.safeParse(token?.["sluice"]);
        if (session.success) await calls.signOut(session.data);
      },
    },
    callbacks: {
      jwt: ({ token, user }) => (user ? { sub: token.sub, sluice: SessionClaim.parse(user) } : token),
    },
  };
}
