import type { IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type Docker from "dockerode";
import type { ContainerRequest, HandedBack, Stream } from "../executor.ts";
import { createDemultiplexer } from "./demultiplex.ts";
import { archiveBytes, fileInArchive, folderArchive } from "./tar.ts";
import { ContainerTrouble, statusOf } from "./trouble.ts";

/** Takes a piece of output; what it answers is waited for before more is read. */
export type OnOutput = (stream: Stream, bytes: Buffer) => Promise<void>;

/** How often a container is looked at whose end nobody tells: the connection that waits for it may have died unseen. */
const LOOK_MS = 10_000;
/** After a hint: at first so soon, then less and less often. A program may go on without its output. */
const LOOK_SOON_MS = { first: 100, last: 2_000 };

/** How long trouble with the engine is waited for. */
export type Patience = {
  /** For an engine that has gone, and may start again. */
  awayMs: number;
  /** For it to come to an end with whatever it is at, after an abort. */
  giveUpMs: number;
  /** Between tries to remove a container. */
  removePausesMs: readonly number[];
};

/** An engine that starts again takes some seconds. */
export const PATIENCE: Patience = { awayMs: 20_000, giveUpMs: 10_000, removePausesMs: [100, 500, 2_000, 5_000] };

/** An engine that does not answer so long has gone. */
const ANSWER_MS = 30_000;

/** What an engine says of a file has the bits of Go's os.FileMode (https://pkg.go.dev/io/fs#FileMode). */
const LINK = 0x0800_0000;
const NOT_PLAIN = 0x8f28_0000;

/** Makes the request's folder in the container, which must not run yet. */
export async function putFiles(container: Docker.Container, { folder, files }: ContainerRequest): Promise<void> {
  await container.putArchive(folderArchive(folder.slice(1), files), { path: "/" });
}

/**
 * Hands output on as fast as it is taken. Begun before the container, it misses nothing; when the connection breaks, the
 * output ends.
 */
export async function attachOutput(
  container: Docker.Container,
): Promise<{ copy(onOutput: OnOutput): Promise<void>; close(): void }> {
  const output = (await container.attach({ stream: true, stdout: true, stderr: true })) as unknown as IncomingMessage;
  // Without a reader, an error would be nobody's.
  output.on("error", () => undefined);
  return {
    async copy(onOutput) {
      const piecesOf = createDemultiplexer();
      const handOn = async (bytes: Buffer): Promise<void> => {
        for (const piece of piecesOf(bytes)) await onOutput(piece.stream, piece.bytes);
      };
      let handingOn: Promise<void> = Promise.resolve();
      try {
        for await (const bytes of output as AsyncIterable<Buffer>) await (handingOn = handOn(bytes));
      } catch {
        // The connection broke, or what came cannot be handed on, which the last line tells.
      }
      await handingOn;
    },
    close: () => void output.destroy(),
  };
}

export type Ended = { code: number; isOutOfMemory: boolean };

/**
 * The end of a container that was started. The engine tells it, but what it answers can be cut off without a trace, so
 * the state itself decides: it is looked at now and then, and often once something hints at the end. An engine that
 * starts again, and has kept its containers, is waited for.
 */
export async function untilEnded(
  container: Docker.Container,
  givenUp: AbortSignal,
  hints: readonly Promise<unknown>[],
  awayMs: number,
): Promise<Ended> {
  let hint: Promise<unknown> | undefined = Promise.race([settled(container.wait({ abortSignal: givenUp })), ...hints]);
  let soonMs = LOOK_SOON_MS.first;
  let awaySince: number | undefined;
  for (;;) {
    if (hint === undefined) soonMs = Math.min(2 * soonMs, LOOK_SOON_MS.last);
    if (await comesWithin(hint, hint === undefined ? soonMs : LOOK_MS)) hint = undefined;
    givenUp.throwIfAborted();
    try {
      const { State: state } = await answered(container.inspect());
      if (!state.Running && !LIVES.has(state.Status)) return { code: state.ExitCode, isOutOfMemory: state.OOMKilled };
      awaySince = undefined;
    } catch (error) {
      hint = undefined;
      awaySince ??= performance.now();
      if (statusOf(error) !== undefined || performance.now() - awaySince > awayMs) throw error;
    }
  }
}

/** Waits so long, or until it comes; true when it did. */
async function comesWithin(hint: Promise<unknown> | undefined, ms: number): Promise<boolean> {
  const over = new AbortController();
  const pause = delay(ms, false, { signal: over.signal });
  try {
    return await (hint === undefined ? pause : Promise.race([hint.then(() => true), pause]));
  } finally {
    over.abort();
    pause.catch(() => undefined);
  }
}

/** Resolves when the call has come to an end, whichever. */
export function settled(call: Promise<unknown>): Promise<true> {
  return call.then(
    () => true,
    () => true,
  );
}

/** Of one that Podman calls stopped, not all is known yet. */
const LIVES: ReadonlySet<string> = new Set(["created", "running", "paused", "restarting", "stopping", "stopped"]);

/** The answer to a short call. */
export async function answered<T>(call: Promise<T>): Promise<T> {
  const late = new AbortController();
  const never = delay(ANSWER_MS, undefined, { signal: late.signal }).then(() => {
    throw new Error(`no answer within ${ANSWER_MS / 1000} s`);
  });
  never.catch(() => undefined);
  try {
    return await Promise.race([call, never]);
  } finally {
    late.abort();
  }
}

/** The files that the container has left, in the order asked for. Each is measured before it is read. */
export async function readOutputs(
  container: Docker.Container,
  { folder, outputs }: ContainerRequest,
): Promise<HandedBack[]> {
  const read: HandedBack[] = [];
  for (const { name, maxBytes } of outputs) read.push(await readFile(container, `${folder}/${name}`, maxBytes));
  return read;
}

async function readFile(container: Docker.Container, path: string, maxBytes: number): Promise<HandedBack> {
  const archive = await archiveOf(container, path);
  if (archive === undefined) return undefined;
  try {
    const { size, mode } = statIn(archive);
    if ((mode & NOT_PLAIN) !== 0) return { trouble: (mode & LINK) === 0 ? "it is not a plain file" : "it is a link" };
    if (size > maxBytes) return { size, text: "" };
    const file = fileInArchive(await bytesOf(archive, archiveBytes(size)));
    return file === undefined ? { trouble: "it is not a plain file" } : { size: file.length, text: file.toString() };
  } finally {
    archive.destroy();
  }
}

async function archiveOf(container: Docker.Container, path: string): Promise<IncomingMessage | undefined> {
  try {
    const archive = (await container.getArchive({ path })) as IncomingMessage;
    archive.on("error", () => undefined);
    return archive;
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}

function statIn({ headers }: IncomingMessage): { size: number; mode: number } {
  const told = String(headers["x-docker-container-path-stat"] ?? "");
  try {
    return JSON.parse(Buffer.from(told, "base64").toString()) as { size: number; mode: number };
  } catch {
    throw new ContainerTrouble("DOCKER_ERROR", "the container engine does not say how large a file is");
  }
}

/** No more than so many: a file that grew meanwhile is cut off, and then is none. */
async function bytesOf(archive: IncomingMessage, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of archive as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > most) break;
  }
  return Buffer.concat(chunks);
}
