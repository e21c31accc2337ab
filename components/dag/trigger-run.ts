import type { DagRun } from "#lib/contract/dag-runs.ts";
import { postToDag } from "./post-to-dag.ts";

export type TriggerResult = { ok: true; runId: string } | { ok: false; message: string };

/** Starts a run through the API. The key makes a repeated request (a retry on a bad line) start one run only. */
export async function triggerRun(dagId: string, conf: Record<string, unknown> | undefined): Promise<TriggerResult> {
  const body = conf === undefined ? {} : { conf };
  const result = await postToDag(dagId, "trigger", body, { "idempotency-key": newKey() });
  return result.ok ? { ok: true, runId: (result.body as DagRun).id } : result;
}

/** `crypto.randomUUID` exists on https and localhost only. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
