import { constants, type BigIntStats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { textTrouble } from "#lib/domain/storable.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { MIN_SECRET_LENGTH } from "#lib/domain/secrets/forms.ts";
import { NO_SECRETS, type SecretProvider } from "./provider.ts";

const MAX_BYTES = 1024 * 1024;

const FORMAT = 'one JSON object of texts, like {"WAREHOUSE_URL": "postgres://…"}';

/** The secrets of the file that a worker's settings name. */
export function secretsOf(file: string | undefined): SecretProvider {
  return file === undefined ? NO_SECRETS : createFileSecrets(file);
}

/**
 * Secrets in a file that only its owner can read, who is the user of this process or root. It is read when it is first
 * asked, and again when it was changed.
 */
export function createFileSecrets(file: string, user = process.getuid?.()): SecretProvider {
  const place = `the file ${file}`;
  let read: { version: string; members: Map<string, unknown> } | undefined;

  const members = async (): Promise<Map<string, unknown>> => {
    // Of the opened file, not of its name: what is checked is what is read. A pipe of that name must not block.
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = await handle.stat({ bigint: true });
      refuseUnlessPrivate(stats, place, user);
      const version = [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join();
      if (read?.version !== version) read = { version, members: await parsed(handle, place) };
      return read.members;
    } finally {
      await handle.close();
    }
  };

  return {
    place,
    async get(names) {
      try {
        const all = await members();
        const present = names.filter((name) => all.has(name));
        return { ok: true, values: new Map(present.map((name) => [name, usable(name, all.get(name), place)])) };
      } catch (error) {
        return { ok: false, error: `the secrets cannot be read: ${reasonOf(error, place)}` };
      }
    },
  };
}

/** What is wrong with the file, in words that hold nothing of it. */
class Unusable extends Error {}

function refuseUnlessPrivate(stats: BigIntStats, place: string, user: number | undefined): void {
  if (!stats.isFile()) throw new Unusable(`${place} is not a regular file; it must be ${FORMAT}`);
  if (user === undefined) return;
  if (stats.uid !== BigInt(user) && stats.uid !== 0n)
    throw new Unusable(
      `${place} belongs to user ${stats.uid}; it must belong to user ${user}, as whom this worker runs, or to root (chown ${user})`,
    );
  const mode = Number(stats.mode & 0o777n);
  if ((mode & 0o077) !== 0)
    throw new Unusable(
      `${place} has mode ${mode.toString(8).padStart(4, "0")}, so that others than its owner can use it; only its owner may (chmod 600)`,
    );
}

async function parsed(handle: FileHandle, place: string): Promise<Map<string, unknown>> {
  const buffer = Buffer.alloc(MAX_BYTES + 1);
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
  if (bytesRead > MAX_BYTES) throw new Unusable(`${place} has more than ${MAX_BYTES} bytes, which is the most`);
  const data = json(buffer.toString("utf8", 0, bytesRead), place);
  if (typeof data !== "object" || data === null || Array.isArray(data))
    throw new Unusable(`${place} holds no object; it must be ${FORMAT}`);
  return new Map(Object.entries(data));
}

function json(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // The parser's message quotes the text around the mistake.
    const [where] = /\(line \d+ column \d+\)/.exec(messageOf(error)) ?? [];
    throw new Unusable(`${place} is not JSON${where === undefined ? "" : ` ${where}`}; it must be ${FORMAT}`);
  }
}

function usable(name: string, value: unknown, place: string): string {
  const complain = (what: string): Unusable => new Unusable(`"${name}" in ${place} ${what}`);
  if (typeof value !== "string") throw complain("is not a text; put its value into quotes");
  if (value.length < MIN_SECRET_LENGTH)
    throw complain(
      `has fewer than ${MIN_SECRET_LENGTH} characters; so short a secret cannot be masked in logs, use a longer one`,
    );
  const trouble = textTrouble(value);
  if (trouble !== undefined) throw complain(trouble);
  return value;
}

function reasonOf(error: unknown, place: string): string {
  if (error instanceof Unusable) return error.message;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "ENOENT") return `${place} does not exist; SLUICE_SECRETS_FILE names it`;
  if (code === "EACCES")
    return `${place} may not be read by this worker's user; it must belong to that user or be its own (chown)`;
  return `${place} cannot be opened: ${code === "" ? messageOf(error) : code}`;
}
