import type { ProblemDocument } from "#lib/contract/problem.ts";

export type PostResult = { ok: true; body: unknown } | { ok: false; message: string };

/** Asks the API for something about a DAG; what went wrong is a sentence for whoever clicked. */
export async function postToDag(
  dagId: string,
  action: "trigger" | "pause" | "unpause",
  body: object,
  headers: Record<string, string> = {},
): Promise<PostResult> {
  try {
    const response = await fetch(`/api/v1/dags/${encodeURIComponent(dagId)}/${action}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    if (response.ok) return { ok: true, body: await response.json() };
    if (response.status === 401)
      return { ok: false, message: "Your session is over. Reload the page to sign in again." };
    return { ok: false, message: ((await response.json()) as ProblemDocument).detail };
  } catch {
    return { ok: false, message: "The server did not answer. Check that Sluice is running, then try again." };
  }
}
