import { type Frame, frame, type FrameLimits } from "../frames/frames.ts";
import { fields, list } from "./fields.ts";

/**
 * What the worker and its spawner say to each other over the spawner's stdin and stdout. A frame is its length, one
 * letter, an id and fields; a field is its length and its bytes. Two programs speak it, one of them in Perl, where
 * fields are `unpack "(N/a)*"`.
 */
export type ProcessUser = {
  uid: number;
  gid: number;
  /** No other task runs as it: whatever runs as it at the end of its process is of that process. */
  isAlone?: boolean | undefined;
};

export type ToSpawner =
  /**
   * Makes `folder` with `files` in it, starts `file` there or in `cwd`, inside the control groups of `procs`, and
   * removes the folder when nothing is left of the process.
   */
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
      /** Files of the folder that are handed back when the process has ended well. */
      outputs: readonly { name: string; maxBytes: number }[];
      /** Files that a process writes itself into to join a control group; the first one lists all that is in there. */
      procs: readonly string[];
    }
  | { kind: "kill"; id: number; signal: "SIGTERM" | "SIGKILL" }
  /** The worker has taken a piece of output and wants more. */
  | { kind: "more"; id: number; stream: "stdout" | "stderr" }
  /** Is answered by a pong with the same id. */
  | { kind: "ping"; id: number };

export type FromSpawner =
  /** Told of a guest, and of what has no control group to be found by. */
  | { kind: "started"; id: number; pid: number }
  | { kind: "data"; id: number; stream: "stdout" | "stderr"; bytes: Buffer }
  /** The process has ended, but what it started goes on. Not told when its exit can be told at once. */
  | { kind: "ended"; id: number }
  | SpawnedExit
  | { kind: "pong"; id: number }
  /** Something to be logged. */
  | { kind: "notice"; text: string };

/** It has ended, its output is all told and nothing is left of it. A code or a signal, or why it could not be started. */
export type SpawnedExit = {
  kind: "exit";
  id: number;
  code?: number | undefined;
  signal?: number | undefined;
  error?: string | undefined;
  cpuMs?: number | undefined;
  peakKib?: number | undefined;
  /** The files that were asked for, in that order; none of a process that did not end well. */
  files: CollectedFile[];
};

/** `size` is absent when there is no such file; `trouble` says why one that is there is not read. */
export type CollectedFile = { size?: number | undefined; bytes: Buffer; trouble?: string | undefined };

/** Of one message: what a task is given and hands back is limited where it is read, far below this. */
const MOST_BYTES = 64 * 1024 * 1024;
/** Ids, numbers and a line of text. */
const FEW_BYTES = 64 * 1024;

/** What may come from a worker, and what from a spawner. */
export const TO_SPAWNER: FrameLimits = { R: MOST_BYTES, K: FEW_BYTES, M: FEW_BYTES, P: 0 };
export const FROM_SPAWNER: FrameLimits = {
  s: FEW_BYTES,
  o: MOST_BYTES,
  e: MOST_BYTES,
  l: FEW_BYTES,
  x: MOST_BYTES,
  n: MOST_BYTES,
  p: 0,
};

export function encodeToSpawner(message: ToSpawner): Buffer {
  switch (message.kind) {
    case "run": {
      const { file, folder, cwd = "", user, args, env, files, outputs, procs } = message;
      const ids = user === undefined ? ["", "", ""] : [String(user.uid), String(user.gid), user.isAlone ? "1" : ""];
      const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      const wanted = outputs.flatMap(({ name, maxBytes }) => [name, String(maxBytes)]);
      const lists = [args, variables, Object.entries(files).flat(), wanted, procs];
      return frame("R", message.id, fields([file, folder, cwd, ...ids, ...lists.map(fields)]));
    }
    case "kill":
      return frame("K", message.id, Buffer.from(message.signal.slice(3)));
    case "more":
      return frame("M", message.id, Buffer.from(message.stream === "stdout" ? "o" : "e"));
    case "ping":
      return frame("P", message.id, Buffer.alloc(0));
  }
}

export function decodeToSpawner({ letter, id, payload }: Frame): ToSpawner {
  switch (letter) {
    case "R": {
      const [file, folder, cwd, uid, gid, alone, ...lists] = list(payload) as TupleOf6;
      const [args, env, files, outputs, procs] = lists.map((packed: Buffer) => list(packed).map(String)) as TupleOf5;
      const user = uid.length === 0 ? undefined : { uid: Number(uid), gid: Number(gid), isAlone: alone.length > 0 };
      return {
        kind: "run",
        id,
        file: String(file),
        folder: String(folder),
        cwd: textIn(cwd),
        user,
        args,
        env: Object.fromEntries(env.map(variableIn)),
        files: pairs(files),
        outputs: chunks(outputs, 2).map(([name, most]) => ({ name: name!, maxBytes: Number(most) })),
        procs,
      };
    }
    case "K":
      return { kind: "kill", id, signal: String(payload) === "TERM" ? "SIGTERM" : "SIGKILL" };
    case "M":
      return { kind: "more", id, stream: String(payload) === "o" ? "stdout" : "stderr" };
    case "P":
      return { kind: "ping", id };
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
      const files = message.files.flatMap(({ size, bytes, trouble }) => [String(size ?? ""), bytes, trouble ?? ""]);
      const how = [code, signal, error, cpuMs, peakKib].map((value) => String(value ?? ""));
      return frame("x", message.id, fields([...how, ...files]));
    }
    case "pong":
      return frame("p", message.id, Buffer.alloc(0));
    case "notice":
      return frame("n", 0, Buffer.from(message.text));
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
    case "p":
      return { kind: "pong", id };
    case "n":
      return { kind: "notice", text: String(payload) };
    case "x": {
      const [code, signal, error, cpuMs, peakKib, ...left] = list(payload);
      const [ended, used] = [
        { code: numberIn(code), signal: numberIn(signal), error: textIn(error) },
        { cpuMs: numberIn(cpuMs), peakKib: numberIn(peakKib) },
      ];
      const files = chunks(left, 3).map(([size, bytes, trouble]) => {
        return { size: numberIn(size), bytes: bytes!, trouble: textIn(trouble) };
      });
      return { kind: "exit", id, ...ended, ...used, files };
    }
    default:
      throw new Error(`the spawner sent a frame ${JSON.stringify(letter)}`);
  }
}

type TupleOf5 = [string[], string[], string[], string[], string[]];
type TupleOf6 = [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];

function variableIn(text: string): [string, string] {
  const at = text.indexOf("=");
  return [text.slice(0, at), text.slice(at + 1)];
}

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
