import { createHash, timingSafeEqual } from "node:crypto";
import type { Role } from "#lib/db/users.ts";
import { AppError } from "#lib/domain/errors.ts";
import type { OwnAddresses } from "./own-addresses.ts";

export type Actor = {
  kind: "token" | "user";
  name: string;
  role: Role;
  /** Asks again whether the credentials still hold; for answers that go on for long. */
  stillAllowed: () => Promise<boolean>;
};

export type Credentials = {
  apiTokenHash: Buffer;
  addresses: OwnAddresses;
  /** Reads the session; only asked when the request brings no `Authorization`. */
  sessionUser: () => Promise<Omit<Actor, "kind"> | undefined>;
};

/** Who calls: the bearer of the API token, or the console's own browser. Anybody else is refused. */
export async function authenticate(request: Request, credentials: Credentials): Promise<Actor> {
  const authorization = request.headers.get("authorization");
  if (authorization !== null) return byToken(authorization, credentials.apiTokenHash);
  const user = await credentials.sessionUser();
  if (user === undefined) throw new AppError("unauthenticated", "Sign in, or send `Authorization: Bearer <token>`.");
  if (request.method !== "GET" && request.method !== "HEAD") requireSameOrigin(request, credentials.addresses);
  return { kind: "user", ...user };
}

function byToken(authorization: string, expected: Buffer): Actor {
  const [, token] = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization) ?? [];
  const hash = createHash("sha256")
    .update(token ?? "")
    .digest();
  if (token === undefined || hash.length !== expected.length || !timingSafeEqual(hash, expected)) {
    throw new AppError("unauthenticated", "The `Authorization` header holds no valid bearer token.");
  }
  return { kind: "token", name: "api-token", role: "admin", stillAllowed: async () => true };
}

/**
 * A cookie is sent by any site's form: a change must come from a page of our own, and say so. Whoever asks by a name that is not ours
 * has been refused before (`cli/request-guard.ts`).
 */
function requireSameOrigin({ headers }: Request, addresses: OwnAddresses): void {
  const site = headers.get("sec-fetch-site");
  const origin = headers.get("origin");
  const sameSite = site === null || site === "same-origin";
  const ownOrigin = origin === null || addresses.isOwnOrigin(origin, headers.get("host") ?? undefined);
  if ((site === null && origin === null) || !sameSite || !ownOrigin) {
    throw new AppError("forbidden", "A request with a session cookie must come from this site itself.");
  }
}
