/**
 * Frames: how this process and another one tell each other things over a pipe. A frame is its length in 4 bytes (big-endian, of
 * what follows), one letter, an id in 4 bytes and the payload. The reader counts before it keeps: what the other side says of a
 * length is never memory of this one.
 */
export type Frame = { letter: string; id: number; payload: Buffer };

/** The letters that may come, and how many bytes of payload each may have. */
export type FrameLimits = Readonly<Record<string, number>>;

/** What came is no frame of the protocol. Nothing after it can be read either. */
export class BadFrame extends Error {}

const HEAD_BYTES = 9;

/**
 * Cuts a stream of bytes into frames, each given to `take`; what is incomplete is kept for the next call. Throws `BadFrame` at the
 * head of a frame with another letter, or with more bytes than its letter may have.
 */
export function createFrameReader(limits: FrameLimits, take: (frame: Frame) => void): (bytes: Buffer) => void {
  let parts: Buffer[] = [];
  let length = 0;
  return (bytes) => {
    parts.push(bytes);
    length += bytes.length;
    if (length < HEAD_BYTES) return;
    if (parts[0]!.length < HEAD_BYTES) parts = [Buffer.concat(parts)];
    // A large frame comes in many pieces; they are joined once, when all of it is there.
    if (length < endOf(parts[0]!, 0, limits)) return;
    const all = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    let at = 0;
    for (let end = 0; all.length - at >= HEAD_BYTES; at = end) {
      end = endOf(all, at, limits);
      if (end > all.length) break;
      take({
        letter: String.fromCharCode(all[at + 4]!),
        id: all.readUInt32BE(at + 5),
        payload: all.subarray(at + HEAD_BYTES, end),
      });
    }
    parts = at < all.length ? [all.subarray(at)] : [];
    length = all.length - at;
  };
}

/** Where the frame at `at` ends, which its head says. */
function endOf(bytes: Buffer, at: number, limits: FrameLimits): number {
  const payload = bytes.readUInt32BE(at) - (HEAD_BYTES - 4);
  const letter = String.fromCharCode(bytes[at + 4]!);
  const most = Object.hasOwn(limits, letter) ? limits[letter]! : undefined;
  if (most === undefined) throw new BadFrame(`a frame has the unknown letter ${JSON.stringify(letter)}`);
  if (payload < 0 || payload > most)
    throw new BadFrame(`a frame ${letter} says that it has ${payload} bytes; it may have ${most}`);
  return at + HEAD_BYTES + payload;
}

/** The bytes of one frame. */
export function frame(letter: string, id: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(HEAD_BYTES - 4 + payload.length, 0);
  head.write(letter, 4, "latin1");
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}
