import type { DagRun } from "#lib/contract/dag-runs.ts";
import type { ProblemDocument } from "#lib/contract/problem.ts";

export type TriggerResult = { ok: true; runId: string } | { ok: false; message: string };

/** Starts a run through the API. The key makes a repeated request (a retry on a bad line) start one run only. */
export async function triggerRun(dagId: string, conf: Record<string, unknown> | undefined): Promise<TriggerResult> {
  try {
    const response = await fetch(`/api/v1/dags/${encodeURIComponent(dagId)}/trigger`, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": newKey() },
      body: JSON.stringify(conf === undefined ? {} : { conf }),
    });
    if (response.ok) return { ok: true, runId: ((await response.json()) as DagRun).id };
    if (response.status === 401)
      return { ok: false, message: "Your session is over. Reload the page to sign in again." };
    return { ok: false, message: ((await response.json()) as ProblemDocument).detail };
  } catch {
    return { ok: false, message: "The server did not answer. Check that Sluice is running, then try again." };
  }
}

/** `crypto.randomUUID` exists on https and localhost only. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
