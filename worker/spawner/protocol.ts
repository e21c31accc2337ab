import { fields, type Frame, frame, list } from "./frames.ts";

/**
 * What the worker and its spawner say to each other over the spawner's stdin and stdout. A frame is its length, one
 * letter, an id and fields; a field is its length and its bytes. Two programs speak it, one of them in Perl, where
 * fields are `unpack "(N/a)*"`.
 */
export type ProcessUser = { uid: number; gid: number };

export type ToSpawner =
  /** Makes `folder` with `files` in it, and starts `file` there or in `cwd`, inside the control groups of `procs`. */
  | {
      kind: "run";
      id: number;
      file: string;
      folder: string;
      /** Absolute, or below `folder`, where it is made. */
      cwd?: string | undefined;
      user: ProcessUser | undefined;
      args: readonly string[];
      env: Readonly<Record<string, string>>;
      files: Readonly<Record<string, string>>;
      /** Files that a process writes itself into to join a control group. */
      procs: readonly string[];
    }
  | { kind: "kill"; id: number; signal: "SIGTERM" | "SIGKILL" }
  /** The worker has taken a piece of output and wants more. */
  | { kind: "more"; id: number; stream: "stdout" | "stderr" }
  /** The process is over and nothing is left of it: hands back files of its folder, and removes the folder. */
  | { kind: "collect"; id: number; files: readonly { name: string; maxBytes: number }[] }
  /** Processes that somebody else made and that must not outlive the worker either. */
  | { kind: "guard" | "unguard"; id: number };

export type FromSpawner =
  | { kind: "started"; id: number; pid: number }
  | { kind: "data"; id: number; stream: "stdout" | "stderr"; bytes: Buffer }
  /** The process has ended; what it started may go on. */
  | { kind: "ended"; id: number }
  | SpawnedExit
  | Collected
  /** Something to be logged. */
  | { kind: "notice"; text: string };

/** It has ended and its output is all told. A code or a signal, or the reason why it could not be started. */
export type SpawnedExit = {
  kind: "exit";
  id: number;
  code?: number | undefined;
  signal?: number | undefined;
  error?: string | undefined;
  cpuMs?: number | undefined;
  peakKib?: number | undefined;
};

/** `size` is absent when there is no such file; `trouble` says why one that is there is not read. */
export type CollectedFile = { size?: number | undefined; bytes: Buffer; trouble?: string | undefined };

/** The files that were asked for, in that order. */
export type Collected = { kind: "collected"; id: number; files: CollectedFile[] };

export function encodeToSpawner(message: ToSpawner): Buffer {
  switch (message.kind) {
    case "run": {
      const { file, folder, cwd = "", user, args, env, files, procs } = message;
      const ids = user === undefined ? ["", ""] : [String(user.uid), String(user.gid)];
      const lists = [args, Object.entries(env).flat(), Object.entries(files).flat(), procs];
      return frame("R", message.id, fields([file, folder, cwd, ...ids, ...lists.map(fields)]));
    }
    case "kill":
      return frame("K", message.id, Buffer.from(message.signal.slice(3)));
    case "more":
      return frame("M", message.id, Buffer.from(message.stream === "stdout" ? "o" : "e"));
    case "collect":
      return frame("C", message.id, fields(message.files.flatMap(({ name, maxBytes }) => [name, String(maxBytes)])));
    case "guard":
      return frame("G", message.id, Buffer.alloc(0));
    case "unguard":
      return frame("U", message.id, Buffer.alloc(0));
  }
}

export function decodeToSpawner({ letter, id, payload }: Frame): ToSpawner {
  const text = (): string[] => list(payload).map(String);
  switch (letter) {
    case "R": {
      const [file, folder, cwd, uid, gid, args, env, files, procs] = list(payload) as TupleOf9;
      const user = uid.length === 0 ? undefined : { uid: Number(uid), gid: Number(gid) };
      const strings = (packed: Buffer): string[] => list(packed).map(String);
      return {
        kind: "run",
        id,
        file: String(file),
        folder: String(folder),
        cwd: textIn(cwd),
        user,
        args: strings(args),
        env: pairs(strings(env)),
        files: pairs(strings(files)),
        procs: strings(procs),
      };
    }
    case "K":
      return { kind: "kill", id, signal: String(payload) === "TERM" ? "SIGTERM" : "SIGKILL" };
    case "M":
      return { kind: "more", id, stream: String(payload) === "o" ? "stdout" : "stderr" };
    case "C":
      return {
        kind: "collect",
        id,
        files: chunks(text(), 2).map(([name, most]) => ({ name: name!, maxBytes: Number(most) })),
      };
    case "G":
    case "U":
      return { kind: letter === "G" ? "guard" : "unguard", id };
    default:
      throw new Error(`the spawner was sent a frame ${JSON.stringify(letter)}`);
  }
}

export function encodeFromSpawner(message: FromSpawner): Buffer {
  switch (message.kind) {
    case "started":
      return frame("s", message.id, fields([String(message.pid)]));
    case "data":
      return frame(message.stream === "stdout" ? "o" : "e", message.id, message.bytes);
    case "ended":
      return frame("l", message.id, Buffer.alloc(0));
    case "exit": {
      const { code, signal, error, cpuMs, peakKib } = message;
      return frame("x", message.id, fields([code, signal, error, cpuMs, peakKib].map((value) => String(value ?? ""))));
    }
    case "notice":
      return frame("n", 0, Buffer.from(message.text));
    case "collected":
      return frame(
        "c",
        message.id,
        fields(message.files.flatMap(({ size, bytes, trouble }) => [String(size ?? ""), bytes, trouble ?? ""])),
      );
  }
}

export function decodeFromSpawner({ letter, id, payload }: Frame): FromSpawner {
  switch (letter) {
    case "s":
      return { kind: "started", id, pid: Number(list(payload)[0]) };
    case "o":
    case "e":
      return { kind: "data", id, stream: letter === "o" ? "stdout" : "stderr", bytes: payload };
    case "l":
      return { kind: "ended", id };
    case "n":
      return { kind: "notice", text: String(payload) };
    case "x": {
      const [code, signal, error, cpuMs, peakKib] = list(payload);
      const [ended, used] = [
        { code: numberIn(code), signal: numberIn(signal), error: textIn(error) },
        { cpuMs: numberIn(cpuMs), peakKib: numberIn(peakKib) },
      ];
      return { kind: "exit", id, ...ended, ...used };
    }
    case "c": {
      const files = chunks(list(payload), 3).map(([size, bytes, trouble]) => {
        return { size: numberIn(size), bytes: bytes!, trouble: textIn(trouble) };
      });
      return { kind: "collected", id, files };
    }
    default:
      throw new Error(`the spawner sent a frame ${JSON.stringify(letter)}`);
  }
}

type TupleOf9 = [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];

function pairs(flat: readonly string[]): Record<string, string> {
  const entries: [string, string][] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) entries.push([flat[at]!, flat[at + 1]!]);
  return Object.fromEntries(entries);
}

/** An empty field is an absent value. */
function textIn(field: Buffer | undefined): string | undefined {
  return field?.length ? String(field) : undefined;
}

function numberIn(field: Buffer | undefined): number | undefined {
  return field?.length ? Number(field) : undefined;
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.floor(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size));
}
