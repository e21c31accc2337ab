import nextAuth from "next-auth";
import type { NextRequest } from "next/server";
import { webDeps } from "#lib/boot.ts";
import { defaultOf } from "./interop.ts";
import { authOptions } from "./next-auth.ts";

/** next-auth's own paths: sign in, sign out, session. */
export async function serveAuth(
  request: NextRequest,
  context: { params: Promise<{ nextauth: string[] }> },
): Promise<Response> {
  const deps = await webDeps();
  const options = authOptions({ pool: deps.engine.pool, sessionSecret: deps.settings.sessionSecret });
  // next-auth types its answer as `any`.
  const response: unknown = await defaultOf(nextAuth)(request, context, options);
  if (!(response instanceof Response)) throw new Error("next-auth gave no response");
  return response;
}
