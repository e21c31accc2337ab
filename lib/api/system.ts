import { createHash } from "node:crypto";
import type { WebDeps } from "#lib/boot.ts";
import { definitionJsonSchema } from "#lib/domain/definition/json-schema.ts";
import type { dagSchema, health, ready, ReadyCheck } from "#lib/contract/system.ts";
import { pingDatabase, readMigrationState } from "#lib/db/readiness-reads.ts";
import type { Handlers } from "./handler.ts";

/** Two probes of the listening connection may be late before it counts as deaf. */
const MAX_LISTENER_AGE_MS = 15_000;

/** It is the same for everybody until the next release, and open to everybody: made once, and not for each request. */
let schema: { text: string; etag: string } | undefined;

function schemaText(): { text: string; etag: string } {
  if (schema !== undefined) return schema;
  const text = JSON.stringify(definitionJsonSchema());
  schema = { text, etag: `"${createHash("sha256").update(text).digest("base64url")}"` };
  return schema;
}

/** Who asks while others wait for an answer is given the same one: probes of anybody must not take the connections of people. */
let asked: Promise<ReadyCheck[]> | undefined;

function checksOf(loadDeps: () => Promise<WebDeps>): Promise<ReadyCheck[]> {
  asked ??= loadDeps()
    .then(allChecks, () => [notStarted()])
    .finally(() => (asked = undefined));
  return asked;
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

  async ready(loadDeps) {
    const checks = await checksOf(loadDeps);
    const ok = checks.every((check) => check.ok);
    return ok
      ? { status: 200, body: { status: "ok", checks } }
      : { status: 503, body: { status: "unavailable", checks } };
  },
};

async function allChecks(deps: WebDeps): Promise<ReadyCheck[]> {
  const asked = await Promise.all([
    check("database", async () => {
      await pingDatabase(deps.engine.pool);
      return { ok: true, detail: "answers" };
    }),
    check("migrations", async () => {
      const { applied, open, latest } = await readMigrationState(deps.engine.pool);
      return {
        ok: applied > 0 && open === 0,
        detail: latest === null ? "none is applied" : `${applied} applied, latest ${latest}`,
      };
    }),
  ]);
  return [...asked, listenerCheck(deps.changes.age())];
}

/** The reason of a failure stays in the log: these checks are open to everybody. */
async function check(name: string, look: () => Promise<{ ok: boolean; detail: string }>): Promise<ReadyCheck> {
  return look().then(
    (seen) => ({ name, ...seen, ageMs: 0 }),
    () => ({ name, ok: false, ageMs: null, detail: "the database does not answer" }),
  );
}

function listenerCheck(ageMs: number): ReadyCheck {
  const ok = ageMs <= MAX_LISTENER_AGE_MS;
  return {
    name: "listener",
    ok,
    ageMs: Math.round(ageMs),
    detail: ok ? "hears changes" : "has not been heard of lately",
  };
}

function notStarted(): ReadyCheck {
  return { name: "start", ok: false, ageMs: null, detail: "the process has not started completely" };
}
