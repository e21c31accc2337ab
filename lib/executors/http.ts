import { messageOf } from "#lib/domain/errors.ts";
import { type ConfigOf, TASK_TYPES } from "#lib/domain/model/task-types.ts";
import { durationMs } from "#lib/domain/model/duration.ts";
import { MAX_OUTPUT_BYTES } from "#lib/domain/output.ts";
import type { BuiltIn, Outcome } from "./executor.ts";
import type { AddressGuard } from "./http-address.ts";
import { timeoutSignal } from "./timeout-signal.ts";
import { type HttpResponse, RefusedRequest, type RequestData, ResponseTooLarge, sendRequest } from "./http-request.ts";

type Config = ConfigOf<"http">;

/** An HTTP request from inside the worker. Its output is the response: status, headers, body. */
export const http: BuiltIn<"http"> = {
  type: "http",
  ...TASK_TYPES.http,
  run: ({ network, signal, log, attempt }, config) =>
    callHttp(config, { network, signal, idempotencyKey: attempt.attemptId, log: (line) => log("system", line) }),
};

export type HttpCaller = {
  network: AddressGuard;
  signal: AbortSignal;
  /** Sent with every request that may change something. */
  idempotencyKey: string;
  log(line: string): void;
};

/** Makes one request as `config` says; never throws. */
export async function callHttp(config: Config, caller: HttpCaller): Promise<Outcome> {
  const limit = timeoutSignal(durationMs(config.responseTimeout));
  const started = performance.now();
  try {
    const response = await sendRequest(requestOf(config, caller.idempotencyKey), {
      guard: caller.network,
      redirects: config.redirects,
      maxBytes: MAX_OUTPUT_BYTES,
      signal: AbortSignal.any([caller.signal, limit.signal]),
    });
    const took = Math.round(performance.now() - started);
    caller.log(`${config.method} ${response.url} → ${response.status} in ${took} ms, ${response.body.length} bytes\n`);
    return toOutcome(config, response);
  } catch (error) {
    return failure(error, limit.signal.aborted, config);
  } finally {
    limit.clear();
  }
}

function requestOf(config: Config, idempotencyKey: string): RequestData {
  const url = new URL(config.url);
  for (const [name, value] of Object.entries(config.query)) url.searchParams.append(name, value);
  const { body, type } = bodyOf(config);
  const isSafe = config.method === "GET" || config.method === "HEAD" || config.method === "OPTIONS";
  const headers = {
    accept: "*/*",
    "user-agent": "sluice",
    ...(type === undefined ? {} : { "content-type": type }),
    // Lets the other side tell a repeated delivery from a second order.
    ...(isSafe ? {} : { "idempotency-key": idempotencyKey }),
    ...Object.fromEntries(Object.entries(config.headers).map(([name, value]) => [name.toLowerCase(), value])),
  };
  return { url, method: config.method, headers, body };
}

function bodyOf({ json, form, body }: Config): { body: string | undefined; type?: string } {
  if (json !== undefined) return { body: JSON.stringify(json), type: "application/json" };
  if (form !== undefined)
    return { body: new URLSearchParams(form).toString(), type: "application/x-www-form-urlencoded" };
  return { body };
}

function toOutcome({ expect }: Config, response: HttpResponse): Outcome {
  const { status } = response;
  const isExpected = expect.length === 0 ? status >= 200 && status <= 299 : expect.includes(status);
  if (!isExpected) {
    const wanted = expect.length === 0 ? "200 to 299" : expect.join(", ");
    const error = `the response has status ${status}; expected ${wanted}`;
    return { kind: "failed", reason: "HTTP_STATUS", error, httpStatus: status };
  }
  return { kind: "success", output: { status, headers: response.headers, body: readBody(response) } };
}

/** JSON when it says so and is, else text, else base64. */
function readBody({ headers, body }: HttpResponse): unknown {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(body);
    if (!/\bjson\b/i.test(headers["content-type"] ?? "")) return text;
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return text;
    }
  } catch {
    return { base64: body.toString("base64") };
  }
}

function failure(error: unknown, timedOut: boolean, { responseTimeout }: Config): Outcome {
  if (timedOut) return { kind: "failed", reason: "TIMEOUT", error: `no complete response within ${responseTimeout}` };
  if (error instanceof RefusedRequest) return { kind: "failed", reason: "ADDRESS_REFUSED", error: error.message };
  if (error instanceof ResponseTooLarge) return { kind: "failed", reason: "RESULT_TOO_LARGE", error: error.message };
  return { kind: "failed", reason: "HTTP_ERROR", error: `the request failed: ${messageOf(error)}` };
}
