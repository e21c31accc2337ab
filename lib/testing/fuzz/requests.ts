import { globSync } from "node:fs";
import path from "node:path";
import { AUTH_PATHS } from "../../auth/auth-paths.ts";
import { operations } from "../../contract/index.ts";
import type { Operation } from "../../contract/op.ts";
import type { Random } from "./random.ts";

/** Who asks: where, and with which session and token. */
export type Asker = { hostname: string; port: string; session: string; token: string };

/** Every pattern that a file below `app` serves, as the files have it: a new page or route is asked by itself. */
export function routePatterns(): string[] {
  const files = globSync("**/{page.tsx,route.ts}", { cwd: path.join(import.meta.dirname, "../../../app") });
  const patterns = files.map((file) =>
    `/${path.dirname(file).replaceAll(path.sep, "/")}`.replaceAll(/\/\([^/]+\)/g, ""),
  );
  return [
    ...patterns.map((pattern) => (pattern === "/." ? "/" : pattern)),
    ...Object.keys(AUTH_PATHS).map((of) => `/api/auth/${of}`),
  ];
}

export const WORDS = [
  "hello",
  "1",
  "0",
  "-1",
  "1e3",
  "9223372036854775807",
  "9223372036854775808",
  "%00",
  "a%00b",
  "%0a",
  "%ff",
  "%ed%a0%80",
  "%F0%9F%98%80",
  "a%2fb",
  "..%2f..",
  "%5c",
  "%27%22%3c",
  "__proto__",
  "[id]",
  "%25%30%30",
  "x".repeat(300),
  "true",
  "2026-01-01T00:00:00Z",
  "javascript:x",
  "//evil.example",
];

/** What the contract knows, and what pages read. */
const QUERY_NAMES = [
  ...new Set([
    ...(Object.values(operations) as Operation[]).flatMap(({ query }) => Object.keys(query?.shape ?? {})),
    "after",
    "before",
    "task",
    "callbackUrl",
    "error",
    "_rsc",
    "__proto__",
  ]),
];

const COOKIES = [
  "next-auth.session-token=x",
  "next-auth.session-token=%",
  "next-auth.session-token.0=a; next-auth.session-token.1=b",
  "next-auth.callback-url=javascript:x",
  "next-auth.csrf-token=%ff|",
  "sluice.browser=a.b",
  "=;;; a",
  "\u0001=\u0002",
  "x=".padEnd(4_000, "y"),
];

const HEADERS = [
  "rsc: 1",
  "next-router-state-tree: %5B%22",
  "next-router-prefetch: 1",
  "next-router-segment-prefetch: /_tree",
  "next-action: 00",
  "next-action: 7f0000000000000000000000000000000000000000",
  "next-resume: 1",
  "x-nextjs-data: 1",
  "x-middleware-subrequest: proxy:proxy:proxy:proxy:proxy",
  "x-forwarded-host: evil.example",
  "x-forwarded-proto: \u0001",
  "x-forwarded-for: , ,",
  "x-matched-path: /%",
  "idempotency-key: \u00ff",
  "last-event-id: 99999999999999999999999",
  "if-none-match: \u0022",
  "range: bytes=9-1",
  "accept: \u00ff/\u00ff",
  "accept-encoding: gzip;q=x",
  "accept-language: *;;;",
  "authorization: Bearer x",
  "authorization: Basic %%%",
];

const TYPES = [
  "application/json",
  "application/json; charset=utf-16",
  "application/x-www-form-urlencoded",
  "multipart/form-data",
  "multipart/form-data; boundary=x",
  "text/plain;charset=UTF-8",
  "\u00ff",
];

const BODIES = [
  "",
  "{",
  "null",
  "[1]",
  "{}",
  '{"conf":{"a":"\\u0000"}}',
  '{"conf":{"\\ud800":1}}',
  '{"__proto__":{"a":1}}',
  '{"note":1e999}',
  `{"conf":${"[".repeat(3_000)}`,
  "csrfToken=a&csrfToken=b",
  "name=%00&password=%ff&csrfToken=%",
  "json=true&callbackUrl=javascript:x",
  "&".repeat(4_000),
  '--x\r\ncontent-disposition: form-data; name="$ACTION_ID_00"\r\n\r\n\r\n--x--\r\n',
  '--x\r\ncontent-disposition: form-data; name="1_$ACTION_REF_1"\r\n\r\n{\r\n--x--\r\n',
  "\u00ff\u00fe\u0000",
];

const METHODS = ["GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** The pattern's path with a word for each of its names. */
export function pathOf(pattern: string, random: Random): string {
  return pattern.replaceAll(/\[\[?(?:\.\.\.)?\w+\]?\]/g, (part) =>
    part.includes("...") ? random.some(WORDS, 3).join("/") : random.pick(WORDS),
  );
}

/** One malformed request to the pattern, as the bytes of HTTP. */
export function requestTo(pattern: string, random: Random, { hostname, port, session, token }: Asker): string {
  const query = random.some(QUERY_NAMES, 3).map((name) => `${name}=${random.pick(WORDS)}`);
  const method = random.pick(METHODS);
  const body = method === "GET" || method === "HEAD" ? "" : random.pick(BODIES);
  const cookie = [...(random.chance(0.7) ? [session] : []), ...random.some(COOKIES, 1)].join("; ");
  const head = [
    `${method} ${pathOf(pattern, random)}${query.length === 0 ? "" : `?${query.join("&")}`} HTTP/1.1`,
    `host: ${hostname}:${port}`,
    "connection: close",
    ...(cookie === "" ? [] : [`cookie: ${cookie}`]),
    ...(body === "" ? [] : [`content-type: ${random.pick(TYPES)}`]),
    `content-length: ${body.length}`,
    ...(random.chance(0.8) ? [`origin: http://${hostname}:${port}`] : []),
    ...(random.chance(0.3) ? [`authorization: Bearer ${token}`] : []),
    ...random.some(HEADERS, 2),
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

/** A signed-in look at the pattern with this word in all its places: pages read what they know of a query, and pass over the rest. */
export function lookAt(pattern: string, word: string, { hostname, port, session }: Asker): string {
  const where = pattern.replaceAll(/\[\[?(?:\.\.\.)?\w+\]?\]/g, (part) => (/id\]/i.test(part) ? "hello" : word));
  const query = QUERY_NAMES.map((name) => `${name}=${word}`).join("&");
  return `GET ${where}?${query} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: close\r\ncookie: ${session}\r\n\r\n`;
}
