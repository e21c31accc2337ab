import { definitionJsonSchema } from "#lib/domain/definition/json-schema.ts";
import type { dagSchema, health, ready } from "#lib/contract/system.ts";
import type { Handlers } from "./handler.ts";

/** It is the same for everybody until the next release, and open to everybody: made once, and not for each request. */
let schema: ReturnType<typeof definitionJsonSchema> | undefined;

export const systemHandlers: Handlers<{
  health: typeof health;
  ready: typeof ready;
  dagSchema: typeof dagSchema;
}> = {
  async dagSchema() {
    return { status: 200, body: (schema ??= definitionJsonSchema()) };
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
