import { AppError } from "#lib/domain/errors.ts";

/** Longest body that is read. */
const MAX_BODY_BYTES = 1024 * 1024;
const MAX_DEPTH = 100;

/** The JSON body; an empty one counts as `{}`. Refuses before it reads more than it may. */
export async function readJsonBody(request: Request): Promise<unknown> {
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > MAX_BODY_BYTES) throw tooLarge();
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type !== undefined && type !== "application/json") throw wrongType();
  const bytes = await readAtMost(request.body, MAX_BODY_BYTES);
  if (bytes.length === 0) return {};
  if (type === undefined) throw wrongType();
  return parseJson(bytes);
}

function parseJson(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw notJson();
  // Before the parse: everything behind it, the schemas too, walks nested values by recursion.
  if (depthOf(text) > MAX_DEPTH) {
    throw new AppError("invalid_request", `The body is nested deeper than ${MAX_DEPTH} levels.`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw notJson();
  }
}

function notJson(): AppError {
  return new AppError("invalid_request", "The body is not valid JSON in UTF-8.");
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * The deepest nesting of brackets outside strings. Character by character, each once: a pattern for whole strings tries again at every
 * quote of a string that never ends.
 */
function depthOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  let isInString = false;
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (isInString) {
      if (character === "\\") at++;
      else if (character === '"') isInString = false;
    } else if (character === '"') isInString = true;
    else if (character === "[" || character === "{") deepest = Math.max(deepest, ++depth);
    else if (character === "]" || character === "}") depth--;
  }
  return deepest;
}

async function readAtMost(body: ReadableStream<Uint8Array> | null, limit: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body ?? []) {
    size += part.length;
    if (size > limit) throw tooLarge();
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function wrongType(): AppError {
  return new AppError("unsupported_media_type", "Send the body as `Content-Type: application/json`.");
}

function tooLarge(): AppError {
  return new AppError("payload_too_large", `A body may have at most ${MAX_BODY_BYTES} bytes.`);
}
