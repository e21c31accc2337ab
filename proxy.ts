import type { NextRequest, NextResponse } from "next/server";
import { withContentSecurityPolicy } from "#lib/api/content-security-policy.ts";

/** Puts the content security policy, with a nonce of its own, on every page. It decides nothing about who may see it. */
export function proxy(request: NextRequest): NextResponse {
  return withContentSecurityPolicy(request);
}

export const config = { matcher: "/((?!api/|_next/|icon.svg).*)" };
