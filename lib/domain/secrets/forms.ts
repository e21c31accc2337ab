/** A shorter value is refused as a secret: hiding it would hide half of every log. */
export const MIN_SECRET_LENGTH = 8;

/**
 * Every text in which a secret may show itself: the value, what in it is a secret of its own (lines, texts of a JSON
 * value, the password of a URL), and all of these in the encodings that programs print without being asked.
 */
export function secretForms(value: string): string[] {
  const parts = [value, value.trim(), ...lines(value), ...jsonTexts(value), ...urlPassword(value)];
  const long = parts.filter((part) => part.length >= MIN_SECRET_LENGTH && part.isWellFormed());
  return [...new Set([...new Set(long)].flatMap(encodings))];
}

function lines(value: string): string[] {
  return value.split(/\r?\n/).flatMap((line) => [line, line.trim()]);
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

function encodings(text: string): string[] {
  return [
    text,
    encodeURIComponent(text),
    encodeURI(text),
    new URLSearchParams([["", text]]).toString().slice(1),
    ...jsonEscaped(text),
    ...base64(text),
  ];
}

/** As it stands inside a JSON text, also of programs that write ASCII only. */
function jsonEscaped(text: string): string[] {
  const escaped = JSON.stringify(text).slice(1, -1);
  const ascii = escaped.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return [escaped, ascii];
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
  const standard = [whole, whole.replace(/=+$/, ""), ...inside];
  return [...standard, ...standard.map((form) => form.replaceAll("+", "-").replaceAll("/", "_"))];
}
