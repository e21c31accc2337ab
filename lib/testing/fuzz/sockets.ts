import { pathOf, type Asker, requestTo } from "./requests.ts";
import type { Random } from "./random.ts";

/** What goes over one connection: pieces that are sent one after the other, and whether the client then ends its side. */
export type Conversation = { pieces: Buffer[]; ends: boolean };

const CHUNK_SIZES = [
  "5",
  "0",
  "zz",
  "-1",
  "",
  "ffffffffffffffff",
  "10000000000000000",
  "5;a=b",
  `5;${"x".repeat(20_000)}`,
  "0x5",
  " 5",
  "5 ",
];
const CHUNK_ENDS = ["\r\n", "\n", "", "\r", "\0\r\n"];
const FIRST_LINES = [
  "GET / HTTP/9.9",
  "GET / HTTP/0.9",
  "GET /",
  "GET  /  HTTP/1.1",
  "get / HTTP/1.1",
  "G\u0000T / HTTP/1.1",
  "CONNECT example.org:80 HTTP/1.1",
  "OPTIONS * HTTP/1.1",
  "GET * HTTP/1.1",
  "GET http://example.org/ HTTP/1.1",
  "GET http://[::1 HTTP/1.1",
  "GET //evil.example/..;/ HTTP/1.1",
  "GET /\\evil.example HTTP/1.1",
  "GET ?a HTTP/1.1",
  "GET /%zz HTTP/1.1",
  "PRI * HTTP/2.0",
  "TRACE / HTTP/1.1",
  "QUERY / HTTP/1.1",
  `GET /${"a".repeat(20_000)} HTTP/1.1`,
  `GET /${"%2e%2e/".repeat(1_000)} HTTP/1.1`,
];
const ODD_HEADERS = [
  "Expect: 100-continue",
  "Expect: something",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding : chunked",
  "Content-Length: 5",
  "Content-Length: 5, 6",
  "Content-Length: -1",
  "Content-Length: 99999999999999999999",
  "Content-Length: 0x5",
  "Host: other.example",
  "Host:",
  "Connection: close, upgrade, keep-alive",
  "Connection: host",
  "Keep-Alive: timeout=-1",
  "Upgrade: h2c",
  "HTTP2-Settings: AAMAAABkAAQAAP__",
  " folded: header",
  "no colon",
  ": no name",
  "a\u0000b: c",
  "a: b\u0000c",
  "a: \u00ff\u00fe",
  "a: b\rc: d",
];

type Kind = (random: Random, patterns: readonly string[], asker: Asker) => Conversation;

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const hostOf = ({ hostname, port }: Asker): string => `Host: ${hostname}:${port}`;
const whole = (text: string): Conversation => ({ pieces: [latin1(text)], ends: true });

/** In pieces of any size, with a moment between them. */
function cut(bytes: Buffer, random: Random): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length && pieces.length < 6;) {
    const end = pieces.length === 5 ? bytes.length : at + 1 + random.upTo(bytes.length);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

const post = (where: string, asker: Asker, ...headers: string[]): string =>
  [
    `POST ${where} HTTP/1.1`,
    hostOf(asker),
    `Cookie: ${asker.session}`,
    `Origin: http://${asker.hostname}:${asker.port}`,
    `Authorization: Bearer ${asker.token}`,
    "Content-Type: application/json",
    ...headers,
    "",
    "",
  ].join("\r\n");

export const KINDS: Record<string, Kind> = {
  "bad chunks": (random, patterns, asker) => {
    const chunk = (): string =>
      `${random.pick(CHUNK_SIZES)}${random.pick(CHUNK_ENDS)}${random.pick(["hello", "{}", ""])}${random.pick(CHUNK_ENDS)}`;
    const body = Array.from({ length: 1 + random.upTo(4) }, chunk).join("");
    const head = post(
      pathOf(random.pick(patterns), random),
      asker,
      "Transfer-Encoding: chunked",
      ...random.some(ODD_HEADERS, 1),
    );
    return { pieces: cut(latin1(head + body), random), ends: true };
  },
  "half a request": (random, patterns, asker) => {
    const bytes = latin1(requestTo(random.pick(patterns), random, asker));
    return { pieces: cut(bytes.subarray(0, random.upTo(bytes.length)), random), ends: true };
  },
  upgrades: (random, patterns, asker) => {
    const where = random.chance(0.3)
      ? random.pick(["/_next/webpack-hmr", "/_next/hmr", "/socket.io/"])
      : pathOf(random.pick(patterns), random);
    const head = [
      `${random.pick(["GET", "POST", "HEAD"])} ${where} HTTP/1.1`,
      random.chance(0.8) ? hostOf(asker) : "Host: evil.example",
      "Connection: Upgrade",
      `Upgrade: ${random.pick(["websocket", "h2c", "x", "websocket, x", "TLS/1.0"])}`,
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      `Sec-WebSocket-Version: ${random.pick(["13", "0", "x"])}`,
      ...random.some([`Cookie: ${asker.session}`, "Origin: http://evil.example", ...ODD_HEADERS], 2),
    ];
    return { pieces: [latin1(`${head.join("\r\n")}\r\n\r\n`), random.bytes(random.upTo(60))], ends: true };
  },
  "many headers": (random, patterns, asker) => {
    const most = random.pick([50, 1_500, 3_000]);
    const lines = Array.from(
      { length: most },
      (_, n) => `${random.pick(["a", `h${n}`, "cookie", "x-forwarded-for"])}: ${n}`,
    );
    return whole(
      `GET ${pathOf(random.pick(patterns), random)} HTTP/1.1\r\n${hostOf(asker)}\r\n${lines.join("\r\n")}\r\n\r\n`,
    );
  },
  "a long header": (random, patterns, asker) =>
    whole(
      `GET ${pathOf(random.pick(patterns), random)} HTTP/1.1\r\n${hostOf(asker)}\r\ncookie: ${random.pick(["a=b; ", "=", "a", `${asker.session}; `]).repeat(random.pick([100, 1_000, 15_000]))}\r\n\r\n`,
    ),
  "a slow body": (random, patterns, asker) => {
    const head = post(
      pathOf(random.pick(patterns), random),
      asker,
      `Content-Length: ${random.pick([2, 64, 1_000_000])}`,
    );
    const body = Array.from({ length: 1 + random.upTo(4) }, () => latin1(random.pick(["{", " ", '"', "}", "\0"])));
    return { pieces: [latin1(head), ...body], ends: random.chance(0.7) };
  },
  "odd first lines": (random, _, asker) =>
    whole(`${random.pick(FIRST_LINES)}\r\n${hostOf(asker)}\r\nConnection: close\r\n\r\n`),
  "odd headers": (random, patterns, asker) => {
    const head = post(pathOf(random.pick(patterns), random), asker, ...random.some(ODD_HEADERS, 3));
    return { pieces: [latin1(head), latin1(random.pick(["", "{}", "hello", "5\r\nhello\r\n0\r\n\r\n"]))], ends: true };
  },
  "several at once": (random, patterns, asker) =>
    whole(
      Array.from({ length: 2 + random.upTo(3) }, () =>
        requestTo(random.pick(patterns), random, asker).replace("connection: close", "connection: keep-alive"),
      ).join(""),
    ),
  "no HTTP": (random) => ({
    pieces: [
      random.pick([
        random.bytes(1 + random.upTo(300)),
        latin1("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0"),
        latin1("\u0016\u0003\u0001\u0002\0\u0001\0\u0001\u00fc\u0003\u0003"),
        latin1("\r\n".repeat(5_000)),
        latin1("\0".repeat(2_000)),
      ]),
    ],
    ends: true,
  }),
};
