import { secretForms } from "./forms.ts";
import { LINE_DIGITS } from "./gaps.ts";
import { createMatchers, type Matcher, UNDECIDED } from "./matcher.ts";

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
  const forms = [...secrets].flatMap(secretForms);
  if (forms.length === 0) return NO_MASK;
  const matchers = createMatchers(forms);
  const text = (given: string): string => {
    const bytes = Buffer.from(given);
    const masked = scan(matchers(), bytes, { from: 0, covered: 0, isLast: true, origin: 0 }).shown;
    // Not made from the bytes when nothing was hidden: they cannot say everything a text can.
    return masked.equals(bytes) ? given : masked.toString();
  };
  return { text, json: (value) => maskedJson(value, text), stream: () => createStream(matchers()) };
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
  // What is not decided yet, and the little before it that deciding looks back at.
  let held: Buffer = Buffer.alloc(0);
  let from = 0;
  let covered = 0;
  let origin = 0;
  const next = (bytes: Buffer, isLast: boolean): Buffer => {
    const all = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    const { shown, stop, covered: rest } = scan(matcher, all, { from, covered, isLast, origin });
    const kept = Math.max(0, stop - LINE_DIGITS);
    held = all.subarray(kept);
    from = stop - kept;
    covered = rest;
    origin += kept;
    return shown;
  };
  return { write: (bytes) => next(bytes, false), end: () => next(Buffer.alloc(0), true) };
}

/**
 * Goes over `bytes` from `from` on, where the first `covered` belong to a secret that was hidden before, as far as can be decided
 * without what follows (`stop`). Secrets that overlap are hidden as one.
 */
function scan(
  matcher: Matcher,
  bytes: Buffer,
  { from, covered, isLast, origin }: { from: number; covered: number; isLast: boolean; origin: number },
): { shown: Buffer; stop: number; covered: number } {
  const parts: Buffer[] = [];
  let hiddenUntil = from + covered;
  let at = from;
  for (; at < bytes.length; at++) {
    const length = matcher(bytes, at, isLast, origin);
    if (length === UNDECIDED) break;
    if (length === 0) continue;
    if (at >= hiddenUntil) parts.push(bytes.subarray(hiddenUntil, at), STARS);
    hiddenUntil = Math.max(hiddenUntil, at + length);
  }
  if (hiddenUntil < at) parts.push(bytes.subarray(hiddenUntil, at));
  return {
    shown: parts.length === 1 ? parts[0]! : Buffer.concat(parts),
    stop: at,
    covered: Math.max(0, hiddenUntil - at),
  };
}
