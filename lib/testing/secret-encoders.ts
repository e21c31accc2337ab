/** How programs print a text that nobody told them to hide: each by its own rules, apart from the ones the mask has. */

const BYTES_OF_XXD = 16;

const hexOf = (text: string): string => Buffer.from(text).toString("hex");
const bytesOf = (text: string): string[] => hexOf(text).match(/../g) ?? [];
const wrapped = (columns: number, end: string) => (text: string) =>
  Buffer.from(text)
    .toString("base64")
    .replaceAll(new RegExp(`.{${columns}}(?=.)`, "g"), (line) => line + end);

/** Python's `quote(safe="")`. */
const quoted = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);

const lowerPercent = (text: string): string => text.replaceAll(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase());

/** Python's `html.escape`, and the numbers of PHP and others. */
const html = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (mark) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[mark] ?? "&#x27;");
const htmlNumbers = (text: string): string =>
  Array.from(text, (character) => (/[a-z0-9]/i.test(character) ? character : `&#${character.codePointAt(0)};`)).join(
    "",
  );

/** bash's `printf %q` of what needs no `$'…'`. */
const shellQuoted = (text: string): string => text.replaceAll(/[^\w./:=@%+,-]/gu, (mark) => `\\${mark}`);
/** bash's `$'…'`, which `printf %q` writes for line ends and other bytes. */
const shellDollar = (text: string): string =>
  [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      if (character === "\n") return "\\n";
      if (character === "'" || character === "\\") return `\\${character}`;
      return byte < 0x20 || byte > 0x7e ? `\\${byte.toString(8).padStart(3, "0")}` : character;
    })
    .join("");
const shellTrace = (text: string): string => text.replaceAll("'", `'\\''`);

/** Python's `repr` of a text, and of its bytes. */
const repr = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("'", "\\'");
const reprBytes = (text: string): string =>
  [...Buffer.from(text)]
    .map((byte) =>
      byte < 0x20 || byte > 0x7e ? `\\x${byte.toString(16).padStart(2, "0")}` : repr(String.fromCharCode(byte)),
    )
    .join("");

const json = (text: string): string => JSON.stringify(text).slice(1, -1);
const ascii = (text: string): string =>
  json(text).replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Lines of bytes as `xxd`, `hexdump -C` and `od` write them, the text beside them where it goes. */
function dump(text: string, line: (address: number, bytes: Buffer) => string): string {
  const all = Buffer.from(text);
  const lines = Array.from({ length: Math.ceil(all.length / BYTES_OF_XXD) }, (_, n) => n * BYTES_OF_XXD);
  return lines.map((at) => line(at, all.subarray(at, at + BYTES_OF_XXD))).join("\n");
}

const column = (bytes: Buffer): string => bytes.toString("latin1").replaceAll(/[^\x20-\x7e]/g, ".");
const spaced = (bytes: Buffer): string => bytes.toString("hex").match(/../g)!.join(" ");

export const SECRET_ENCODERS: Readonly<Record<string, (text: string) => string>> = {
  itself: (text) => text,
  "with line ends of Windows": (text) => text.replaceAll(/\r?\n/g, "\r\n"),
  base64: (text) => Buffer.from(text).toString("base64"),
  "base64 of addresses": (text) => Buffer.from(text).toString("base64url"),
  "base64 of 76 columns": wrapped(76, "\n"),
  "base64 of 64 columns": wrapped(64, "\n"),
  "base64 of 76 columns with CRLF": wrapped(76, "\r\n"),
  "base64 of 64 columns, indented": wrapped(64, "\n    "),
  "base64 of 76 columns in JSON": (text) => json(wrapped(76, "\n")(text)),
  "base64 in an address": (text) => encodeURIComponent(Buffer.from(text).toString("base64")),
  hex: hexOf,
  HEX: (text) => hexOf(text).toUpperCase(),
  "hex with spaces": (text) => bytesOf(text).join(" "),
  "hex with colons": (text) => bytesOf(text).join(":").toUpperCase(),
  "hex of C": (text) =>
    bytesOf(text)
      .map((byte) => `0x${byte}`)
      .join(", ")
      .slice(2),
  "xxd -p": (text) => hexOf(text).replaceAll(/.{60}(?=.)/g, "$&\n"),
  xxd: (text) =>
    dump(
      text,
      (at, bytes) =>
        `${at.toString(16).padStart(8, "0")}: ${(bytes.toString("hex").match(/.{1,4}/g) ?? []).join(" ").padEnd(39)}  ${column(bytes)}`,
    ),
  "hexdump -C": (text) =>
    dump(
      text,
      (at, bytes) =>
        `${at.toString(16).padStart(8, "0")}  ${spaced(bytes.subarray(0, 8)).padEnd(23)}  ${(bytes.length > 8 ? spaced(bytes.subarray(8)) : "").padEnd(23)}  |${column(bytes)}|`,
    ),
  "od -t x1": (text) => dump(text, (at, bytes) => `${at.toString(8).padStart(7, "0")} ${spaced(bytes)}`),
  "od -An -t x1": (text) => dump(text, (_, bytes) => ` ${spaced(bytes)}`),
  "a shell's printf %q": shellQuoted,
  "a shell's $'…'": shellDollar,
  "a shell's trace": shellTrace,
  HTML: html,
  "HTML by numbers": htmlNumbers,
  encodeURIComponent,
  encodeURI,
  "quote of Python": quoted,
  "quote in lower case": (text) => lowerPercent(quoted(text)),
  "every byte by %": (text) =>
    bytesOf(text)
      .map((byte) => `%${byte}`)
      .join(""),
  "a form": (text) => new URLSearchParams([["", text]]).toString().slice(1),
  "an address in an address": (text) => encodeURIComponent(encodeURIComponent(text)),
  JSON: json,
  "JSON of ASCII": ascii,
  "JSON in JSON": (text) => json(json(text)),
  "JSON in JSON of ASCII": (text) => json(ascii(text)),
  "JSON of PHP": (text) => ascii(text).replaceAll("/", "\\/"),
  "repr of Python": repr,
  "repr of bytes": reprBytes,
};

/** The text as each of them prints it. */
export function printedForms(text: string): string[] {
  return Object.values(SECRET_ENCODERS).map((encode) => encode(text));
}
