import { secretForms } from "./forms.ts";

const STARS = Buffer.from("***");

/** Hides secrets in what is about to be kept. Of none, it changes nothing. */
export type Mask = {
  text(text: string): string;
  /** The texts, numbers and keys in plain data. */
  json(value: unknown): unknown;
  /** For output that comes in pieces. */
  stream(): MaskStream;
};

/** However the bytes are cut into pieces, the same comes out. */
export type MaskStream = {
  /**
   * What can be shown by now: all but an end that may be the beginning of a secret. It waits for what follows, however
   * long that takes: a half that was shown could not be taken back.
   */
  write(bytes: Buffer): Buffer;
  /** The rest. */
  end(): Buffer;
};

/** Hides these secrets, in every form they may show themselves in: each stretch of them becomes `***`. */
export function createMask(secrets: Iterable<string>): Mask {
  const forms = new Set([...secrets].flatMap(secretForms));
  if (forms.size === 0) return NO_MASK;
  const matcher = createMatcher([...forms].map((form) => Buffer.from(form)));
  const text = (given: string): string => {
    const bytes = Buffer.from(given);
    const masked = scan(matcher, bytes, 0, true).shown;
    // Not made from the bytes when nothing was hidden: they cannot say everything a text can.
    return masked.equals(bytes) ? given : masked.toString();
  };
  return { text, json: (value) => maskedJson(value, text), stream: () => createStream(matcher) };
}

/** Hides nothing. */
export const NO_MASK: Mask = {
  text: (text) => text,
  json: (value) => value,
  stream: () => ({ write: (bytes) => bytes, end: () => Buffer.alloc(0) }),
};

function maskedJson(value: unknown, text: (given: string) => string): unknown {
  if (typeof value === "string") return text(value);
  if (typeof value === "number") return text(String(value)) === String(value) ? value : STARS.toString();
  if (Array.isArray(value)) return value.map((item) => maskedJson(item, text));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [text(key), maskedJson(member, text)]));
}

function createStream(matcher: Matcher): MaskStream {
  let held: Buffer = Buffer.alloc(0);
  let covered = 0;
  const next = (bytes: Buffer, isLast: boolean): Buffer => {
    const all = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    const { shown, stop, covered: rest } = scan(matcher, all, covered, isLast);
    held = all.subarray(stop);
    covered = rest;
    return shown;
  };
  return { write: (bytes) => next(bytes, false), end: () => next(Buffer.alloc(0), true) };
}

/**
 * Goes over `bytes`, of which the first `covered` belong to a secret that was hidden before, as far as can be decided
 * without what follows (`stop`). Secrets that overlap are hidden as one.
 */
function scan(
  matcher: Matcher,
  bytes: Buffer,
  covered: number,
  isLast: boolean,
): { shown: Buffer; stop: number; covered: number } {
  const parts: Buffer[] = [];
  let hiddenUntil = covered;
  let at = 0;
  for (; at < bytes.length; at++) {
    const length = matcher(bytes, at, isLast);
    if (length === UNDECIDED) break;
    if (length === 0) continue;
    if (at >= hiddenUntil) parts.push(bytes.subarray(hiddenUntil, at), STARS);
    hiddenUntil = Math.max(hiddenUntil, at + length);
  }
  if (parts.length === 0 && hiddenUntil === 0 && at === bytes.length) return { shown: bytes, stop: at, covered: 0 };
  if (hiddenUntil < at) parts.push(bytes.subarray(hiddenUntil, at));
  return { shown: Buffer.concat(parts), stop: at, covered: Math.max(0, hiddenUntil - at) };
}

/** The length of the longest secret that begins at a place, 0 for none. */
type Matcher = (bytes: Buffer, at: number, isLast: boolean) => number;

/** The bytes end too early to tell. */
const UNDECIDED = -1;

function createMatcher(secrets: readonly Buffer[]): Matcher {
  // By their first byte: almost every place of a log is passed over by one look.
  const byFirst: Buffer[][] = [];
  for (const secret of secrets.toSorted((a, b) => b.length - a.length)) (byFirst[secret[0]!] ??= []).push(secret);
  return (bytes, at, isLast) => {
    const candidates = byFirst[bytes[at]!];
    if (candidates === undefined) return 0;
    // The longest first: a shorter one is only taken when no longer one can still come of what follows.
    for (const secret of candidates) {
      const there = Math.min(secret.length, bytes.length - at);
      if ((there === secret.length || !isLast) && isSame(bytes, at, secret, there))
        return there === secret.length ? there : UNDECIDED;
    }
    return 0;
  };
}

function isSame(bytes: Buffer, at: number, secret: Buffer, length: number): boolean {
  for (let index = 1; index < length; index++) if (bytes[at + index] !== secret[index]) return false;
  return true;
}
