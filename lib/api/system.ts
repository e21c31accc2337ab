import { createHash } from "node:crypto";
import { definitionJsonSchema } from "#lib/domain/definition/json-schema.ts";
import type { dagSchema, health, ready } from "#lib/contract/system.ts";
import type { Handlers } from "./handler.ts";

/** It is the same for everybody until the next release, and open to everybody: made once, and not for each request. */
let schema: { text: string; etag: string } | undefined;

function schemaText(): { text: string; etag: string } {
  if (schema !== undefined) return schema;
  const text = JSON.stringify(definitionJsonSchema());
  schema = { text, etag: `"${createHash("sha256").update(text).digest("base64url")}"` };
  return schema;
}

export const systemHandlers: Handlers<{
  health: typeof health;
  ready: typeof ready;
  dagSchema: typeof dagSchema;
}> = {
  async dagSchema(_, { headers }) {
    const { text, etag } = schemaText();
    const about = { etag, "cache-control": "no-cache" };
    if (headers.get("if-none-match")?.includes(etag)) return new Response(null, { status: 304, headers: about });
    return new Response(text, { headers: { ...about, "content-type": "application/json" } });
  },

  async health() {
    return { status: 200, body: { status: "ok" } };
  },

  /** From memory: rounds of their own go through what this process needs, and a request starts none. */
  async ready(loadDeps) {
    const deps = await loadDeps().catch(() => undefined);
    const duties = deps?.duties.report() ?? [{ name: "start", ok: false }];
    const checks = duties.map(({ name, ok }) => ({ name, ok }));
    return checks.every(({ ok }) => ok)
      ? { status: 200, body: { status: "ok", checks } }
      : { status: 503, body: { status: "unavailable", checks } };
  },
};
