import { writeSync } from "node:fs";
import { Socket } from "node:net";
import { createFrameReader, type Frame, frame, type FrameLimits } from "./frames.ts";

/** The pipes in a child: `stdio: [..., "pipe", "pipe"]` behind the three of every process. */
export const FROM_PARENT = 3;
export const TO_PARENT = 4;

/**
 * The child's end. `send` returns when the pipe has taken all of it, so that nothing is lost when the process ends at the next
 * statement, and a flood waits here and not in the parent's memory. The process ends when the parent is gone.
 */
export function openChildEnd(
  limits: FrameLimits,
  take: (frame: Frame) => void,
): { send(letter: string, id: number, payload: Buffer): void } {
  const input = new Socket({ fd: FROM_PARENT, readable: true, writable: false });
  input.on("data", createFrameReader(limits, take));
  input.on("error", () => process.exit(0));
  input.on("end", () => process.exit(0));
  return {
    send(letter, id, payload) {
      const bytes = frame(letter, id, payload);
      for (let at = 0; at < bytes.length;) at += writeSync(TO_PARENT, bytes, at);
    },
  };
}
