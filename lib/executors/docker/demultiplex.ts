import { ContainerTrouble } from "./trouble.ts";

const HEADER = 8;
const STREAMS = { 0: "stdout", 1: "stdout", 2: "stderr" } as const;

export type Piece = { stream: "stdout" | "stderr"; bytes: Buffer };

/**
 * Takes apart what an engine sends of a container's output: frames of a stream's number, three zeros and a length, each
 * before its bytes. Frames may be cut anywhere, and none is waited for: what is there of one is handed on.
 */
export function createDemultiplexer(): (bytes: Buffer) => Piece[] {
  let stream: Piece["stream"] = "stdout";
  let left = 0;
  let begun: Buffer = Buffer.alloc(0);

  return (bytes) => {
    const pieces: Piece[] = [];
    for (let rest = begun.length === 0 ? bytes : Buffer.concat([begun, bytes]); ;) {
      if (left > 0) {
        const part = rest.subarray(0, left);
        if (part.length > 0) pieces.push({ stream, bytes: part });
        left -= part.length;
        rest = rest.subarray(part.length);
      }
      if (left > 0 || rest.length < HEADER) {
        begun = rest;
        return pieces;
      }
      stream = streamOf(rest);
      left = rest.readUInt32BE(4);
      rest = rest.subarray(HEADER);
    }
  };
}

function streamOf(header: Buffer): Piece["stream"] {
  const stream = STREAMS[header[0] as keyof typeof STREAMS] as Piece["stream"] | undefined;
  if (stream !== undefined && header.readUIntBE(1, 3) === 0) return stream;
  throw new ContainerTrouble("DOCKER_ERROR", "the container engine sent output that is not made of frames");
}
