import { StringDecoder } from "node:string_decoder";

export type PrefixedLines = {
  /** Writes what is complete of a task's output, each line behind the task's name. */
  add(taskId: string, stream: string, bytes: Buffer): void;
  /** Writes what a task left without an end of line. */
  end(taskId: string): void;
};

/** Turns pieces of several tasks' output into whole lines that say whose they are. */
export function prefixedLines(width: number, write: (text: string) => void): PrefixedLines {
  /** Pieces of a line that has not ended: joined once, when it does. */
  const rests = new Map<string, { decoder: StringDecoder; pieces: string[] }>();
  const line = (taskId: string, text: string): void => write(`${taskId.padEnd(width)} │ ${text.replace(/\r$/, "")}\n`);
  return {
    add(taskId, stream, bytes) {
      const key = `${taskId} ${stream}`;
      const rest = rests.get(key) ?? { decoder: new StringDecoder("utf8"), pieces: [] };
      rests.set(key, rest);
      const lines = rest.decoder.write(bytes).split("\n");
      const last = lines.pop()!;
      for (const text of lines) {
        line(taskId, rest.pieces.join("") + text);
        rest.pieces = [];
      }
      rest.pieces.push(last);
    },
    end(taskId) {
      for (const [key, rest] of rests) {
        if (!key.startsWith(`${taskId} `)) continue;
        const text = rest.pieces.join("") + rest.decoder.end();
        if (text !== "") line(taskId, text);
        rests.delete(key);
      }
    },
  };
}
