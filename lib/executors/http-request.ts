import { type IncomingMessage, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import type { LookupFunction } from "node:net";
import type { Duplex } from "node:stream";
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
    const address = await unlessAborted(addressOf(request.url, options.guard), options.signal);
    const message = await send(request, address, options.signal);
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

function send(request: RequestData, address: Address, signal: AbortSignal): Promise<IncomingMessage> {
  const { url, method, headers, body } = request;
  // The connection goes to the address that was checked, whatever the name says by now.
  const lookup: LookupFunction = (_host, options, done) =>
    options.all ? done(null, [address]) : done(null, address.address, address.family);
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
    const outgoing = (url.protocol === "https:" ? tlsRequest : plainRequest)(
      url,
      { method, headers: { ...headers, ...length, "accept-encoding": "identity" }, agent: false, lookup, signal },
      resolve,
    );
    outgoing.on("error", reject);
    outgoing.on("close", () => reject(new Error("the connection was closed without a response")));
    // Without a listener the request would neither end nor fail.
    const switched = ({ statusCode }: IncomingMessage, socket: Duplex): void => {
      socket.destroy();
      reject(new Error(`the server answered ${statusCode}, which makes another protocol of the connection`));
    };
    outgoing.on("upgrade", switched);
    outgoing.on("connect", switched);
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

/** Headers that tell another origin nothing that it may not know. */
const SAFE_HEADERS: ReadonlySet<string> = new Set(["accept", "accept-language", "user-agent"]);
const OF_THE_BODY: ReadonlySet<string> = new Set(["content-type", "idempotency-key"]);

/**
 * What fetch does (https://fetch.spec.whatwg.org/#http-redirect-fetch), and more where another origin is named: any header or body
 * may hold a secret of the task, so none goes there.
 */
function redirected(request: RequestData, url: URL, status: number): RequestData {
  const becomesGet = (status === 303 && request.method !== "HEAD") || (status < 303 && request.method === "POST");
  const isForeign = url.origin !== request.url.origin;
  const body = becomesGet ? undefined : request.body;
  if (isForeign && body !== undefined)
    throw new RefusedRequest(
      `the server redirects a request with a body to another origin, ${url.origin}; if it is to go there, name that address`,
    );
  const isKept = (name: string): boolean =>
    isForeign ? SAFE_HEADERS.has(name) : !becomesGet || !OF_THE_BODY.has(name);
  return {
    url,
    method: becomesGet ? "GET" : request.method,
    headers: Object.fromEntries(Object.entries(request.headers).filter(([name]) => isKept(name))),
    body,
  };
}

/** A name server that does not respond must not outlast the attempt: looking up a name knows no signal. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
