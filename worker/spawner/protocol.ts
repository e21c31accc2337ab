/** What the worker and its spawner say to each other over the IPC channel. */
export type ToSpawner =
  | { kind: "spawn"; id: number; file: string; args: readonly string[]; cwd: string; env: Record<string, string> }
  | { kind: "kill"; id: number; signal: NodeJS.Signals }
  /** The worker has taken a piece of output and wants more. */
  | { kind: "more"; id: number; stream: "stdout" | "stderr" }
  /** Processes that somebody else made and that must not outlive the worker either. */
  | { kind: "guard" | "unguard"; pid: number };

export type FromSpawner =
  | { kind: "started"; id: number; pid: number }
  | { kind: "data"; id: number; stream: "stdout" | "stderr"; bytes: Buffer }
  | { kind: "exit"; id: number; code: number | null; signal: string | null; error?: string };
