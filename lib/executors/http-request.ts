import { Agent, type ClientRequest, type IncomingMessage, request as plainRequest } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import type { Address, AddressGuard } from "./http-address.ts";

export type RequestData = { url: URL; method: string; headers: Record<string, string>; body: string | undefined };

/** `url` is without its query, which may hold secrets. */
export type HttpResponse = { url: string; status: number; headers: Record<string, string>; body: Buffer };

export class RefusedRequest extends Error {}
export class ResponseTooLarge extends Error {}

type Options = { guard: AddressGuard; redirects: number; maxBytes: number; signal: AbortSignal };

/** Sends a request and follows redirects; every hop's address is checked. Rejects with what went wrong. */
export async function sendRequest(first: RequestData, options: Options): Promise<HttpResponse> {
  let request = first;
  for (let hops = 0; ; hops++) {
    const message = await send(request, await addressOf(request.url, options.guard), options.signal);
    const location = isRedirect(message.statusCode) ? message.headers.location : undefined;
    if (location === undefined || options.redirects === 0) return receive(message, request.url, options.maxBytes);
    message.destroy();
    if (hops >= options.redirects) throw new Error(`more than ${options.redirects} redirects`);
    request = redirected(request, new URL(location, request.url), message.statusCode!);
  }
}

async function addressOf(url: URL, guard: AddressGuard): Promise<Address> {
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new RefusedRequest(`the address must begin with http:// or https://, not ${url.protocol}//`);
  if (url.username !== "" || url.password !== "")
    throw new RefusedRequest("the address holds a user name or password; use an Authorization header");
  const address = await guard.addressOf(url.hostname);
  if (address !== undefined) return address;
  throw new RefusedRequest(
    `${url.hostname} has a private address, and tasks may not reach those; SLUICE_HTTP_ALLOW can allow it on this worker`,
  );
}

/**
 * Connections that safe requests leave open for the next one to the same host. Servers close idle ones themselves, Node's own
 * after 5 s: shorter than that, so that few requests meet one that is just being closed.
 */
const KEPT = { keepAlive: true, timeout: 4_000, maxFreeSockets: 16 };
const AGENTS = { "http:": new Agent(KEPT), "https:": new TlsAgent(KEPT) };

/**
 * What changes nothing at the other side may be sent again: it goes over a kept connection, and once more over a new one where
 * the server has closed that. Everything else has a connection of its own.
 */
async function send(request: RequestData, address: Address, signal: AbortSignal): Promise<IncomingMessage> {
  const isSafe = request.method === "GET" || request.method === "HEAD";
  if (!isSafe || request.body !== undefined) return exchange(request, address, signal, false);
  try {
    return await exchange(request, address, signal, true);
  } catch (error) {
    if (error instanceof StaleConnection) return exchange(request, address, signal, false);
    throw error;
  }
}

/** A kept connection that the server had closed by the time of the request. */
class StaleConnection extends Error {}

function exchange(
  { url, method, headers, body }: RequestData,
  address: Address,
  signal: AbortSignal,
  isKept: boolean,
): Promise<IncomingMessage> {
  const isTls = url.protocol === "https:";
  const host = headers["host"] ?? url.host;
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const outgoing: ClientRequest = (isTls ? tlsRequest : plainRequest)(
      {
        // The connection, new or kept, is one to the address that was checked, whatever the name says by now. Of TLS the
        // certificate is that of the name in the host header.
        host: address.address,
        port: url.port === "" ? undefined : Number(url.port),
        path: `${url.pathname}${url.search}`,
        method,
        headers: { ...headers, ...length, host, "accept-encoding": "identity" },
        agent: isKept && AGENTS[isTls ? "https:" : "http:"],
        signal,
      },
      resolve,
    );
    outgoing.on("error", (error: NodeJS.ErrnoException) => {
      const isStale = outgoing.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
      reject(isStale ? new StaleConnection() : error);
    });
    outgoing.end(body);
  });
}

async function receive(message: IncomingMessage, url: URL, maxBytes: number): Promise<HttpResponse> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      message.destroy();
      throw new ResponseTooLarge(`the response has more than ${maxBytes} bytes, which is what an output may have`);
    }
    chunks.push(chunk);
  }
  const headers = Object.entries(message.headers).map(([name, value]) => [name, String(value)]);
  return {
    url: `${url.origin}${url.pathname}`,
    status: message.statusCode!,
    headers: Object.fromEntries(headers) as Record<string, string>,
    body: Buffer.concat(chunks),
  };
}

const isRedirect = (status: number | undefined): boolean => [301, 302, 303, 307, 308].includes(status ?? 0);

/** What fetch does (https://fetch.spec.whatwg.org/#http-redirect-fetch). */
function redirected(request: RequestData, url: URL, status: number): RequestData {
  const becomesGet = (status === 303 && request.method !== "HEAD") || (status < 303 && request.method === "POST");
  const dropped = new Set([
    ...(becomesGet ? ["content-type", "idempotency-key"] : []),
    ...(url.origin === request.url.origin ? [] : ["authorization", "cookie", "proxy-authorization"]),
  ]);
  return {
    url,
    method: becomesGet ? "GET" : request.method,
    headers: Object.fromEntries(Object.entries(request.headers).filter(([name]) => !dropped.has(name))),
    body: becomesGet ? undefined : request.body,
  };
}
