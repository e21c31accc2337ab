import { StringDecoder } from "node:string_decoder";

export type PrefixedLines = {
  /** Writes what is complete of a task's output, each line behind the task's name. */
  add(taskId: string, stream: string, bytes: Buffer): void;
  /** Writes what a task left without an end of line. */
  end(taskId: string): void;
};

/** Turns pieces of several tasks' output into whole lines that say whose they are. */
export function prefixedLines(width: number, write: (text: string) => void): PrefixedLines {
  const rests = new Map<string, { decoder: StringDecoder; text: string }>();
  const line = (taskId: string, text: string): void => write(`${taskId.padEnd(width)} │ ${text.replace(/\r$/, "")}\n`);
  return {
    add(taskId, stream, bytes) {
      const key = `${taskId} ${stream}`;
      const rest = rests.get(key) ?? { decoder: new StringDecoder("utf8"), text: "" };
      const lines = (rest.text + rest.decoder.write(bytes)).split("\n");
      rests.set(key, { ...rest, text: lines.pop()! });
      for (const text of lines) line(taskId, text);
    },
    end(taskId) {
      for (const [key, rest] of rests) {
        if (!key.startsWith(`${taskId} `)) continue;
        const text = rest.text + rest.decoder.end();
        if (text !== "") line(taskId, text);
        rests.delete(key);
      }
    },
  };
}
