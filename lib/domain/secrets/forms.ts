import { characterUnit, type Unit, unitOf } from "./characters.ts";

/** A shorter value is refused as a secret: hiding it would hide half of every log. */
export const MIN_SECRET_LENGTH = 8;

/**
 * What may stand between two units: nothing; a line's end, as in base64 of many columns; or what separates bytes in a dump, with the
 * columns beside them; or a line's end and the address behind it, in a dump whose bytes all take as many places.
 */
export type Gap = "none" | "lines" | "dump" | "columns";

/** One form in which a secret may show itself: unit after unit, each in any of its ways. */
export type Form = { units: readonly Unit[]; gap: Gap };

/**
 * Every form in which a secret may show itself: the value, what in it is a secret of its own (lines, texts of a JSON
 * value, the password of a URL), and all of these in the encodings that programs print without being asked.
 */
export function secretForms(value: string): Form[] {
  const parts = [value, ...lines(value), ...jsonTexts(value), ...urlPassword(value)];
  const texts = new Set(parts.map(withoutBlanks).filter(isLong));
  // What stands around it shares digits of base64 with it.
  const around = [value].filter((text) => isLong(text) && !texts.has(text));
  return [...[...texts].flatMap(encodings), ...around.flatMap(base64Forms)];
}

const isLong = (text: string): boolean => text.length >= MIN_SECRET_LENGTH && text.isWellFormed();

/** Blanks around a secret hide nothing, and every log has them: a form begins where something is to be hidden. */
function withoutBlanks(text: string): string {
  return text.trim().length >= MIN_SECRET_LENGTH ? text.trim() : text;
}

function lines(value: string): string[] {
  return value.split(/\r?\n/);
}

/** A key file in JSON is printed by its members, after a program has read it. */
function jsonTexts(value: string): string[] {
  if (!/^\s*[{[]/.test(value)) return [];
  const texts: string[] = [];
  try {
    JSON.parse(value, (_, member: unknown) => {
      if (typeof member === "string") texts.push(member);
      return member;
    });
  } catch {
    // Not JSON after all: it has no members.
  }
  return texts;
}

function urlPassword(value: string): string[] {
  const password = URL.parse(value)?.password ?? "";
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    return [password];
  }
}

function encodings(text: string): Form[] {
  const characters = Array.from(text, characterUnit);
  const bytes = [...Buffer.from(text)];
  return [
    { units: characters, gap: "none" },
    ...base64Forms(text),
    { units: bytes.map((byte) => HEX[byte]!), gap: "dump" },
    { units: bytes.map((byte) => COLUMNS[byte]!), gap: "columns" },
  ];
}

function base64Forms(text: string): Form[] {
  return base64(text).map((form) => ({ units: Array.from(form, (digit) => DIGITS.get(digit)!), gap: "lines" }));
}

/**
 * By itself, and as a part of something longer (`user:password`): then its first byte falls on one of three places of
 * a group, and only the characters that depend on nothing around it are its own.
 */
function base64(text: string): string[] {
  const bytes = Buffer.from(text);
  const whole = bytes.toString("base64");
  const inside = [0, 1, 2].map((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    return encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
  });
  return [...new Set([whole, whole.replace(/=+$/, ""), ...inside])];
}

/** The digits of base64, those of addresses among them, and how an address or JSON writes them. */
const DIGITS: ReadonlyMap<string, Unit> = new Map(
  Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", (digit) => [
    digit,
    unitOf(
      {
        "+": ["+", "-", "%2B", "%2b", "\\u002b", "\\u002B"],
        "/": ["/", "_", "%2F", "%2f", "\\/"],
        "=": ["=", "%3D", "%3d", "\\u003d", "\\u003D"],
      }[digit] ?? [digit],
    ),
  ]),
);

const HEX: readonly Unit[] = Array.from({ length: 256 }, (_, byte) => {
  const lower = byte.toString(16).padStart(2, "0");
  return unitOf([lower, lower.toUpperCase()]);
});

const LETTERS: Readonly<Record<number, string>> = {
  0: "\\0",
  7: "\\a",
  8: "\\b",
  9: "\\t",
  10: "\\n",
  11: "\\v",
  12: "\\f",
  13: "\\r",
};

/** The columns of `od -c`: four places for each byte. */
const COLUMNS: readonly Unit[] = Array.from({ length: 256 }, (_, byte) => {
  const shown = byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : byte.toString(8).padStart(3, "0");
  return unitOf([(LETTERS[byte] ?? shown).padStart(4)]);
});
