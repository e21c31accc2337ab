export type Frame = { letter: string; id: number; payload: Buffer };

const HEAD_BYTES = 9;

/** Cuts a stream of bytes into frames; what is incomplete is kept for the next call. */
export function createFrameReader(): (bytes: Buffer) => Frame[] {
  let parts: Buffer[] = [];
  let length = 0;
  return (bytes) => {
    parts.push(bytes);
    length += bytes.length;
    // A large frame comes in many pieces; they are joined once, when all of it is there.
    const head = parts[0]!.length >= 4 ? parts[0]! : Buffer.concat(parts);
    if (head !== parts[0]) parts = [head];
    if (head.length < 4 || length < 4 + head.readUInt32BE(0)) return [];
    const all = parts.length === 1 ? head : Buffer.concat(parts);
    const frames: Frame[] = [];
    let at = 0;
    while (all.length - at >= HEAD_BYTES) {
      const end = at + 4 + all.readUInt32BE(at);
      if (end > all.length) break;
      const letter = String.fromCharCode(all[at + 4]!);
      frames.push({ letter, id: all.readUInt32BE(at + 5), payload: all.subarray(at + HEAD_BYTES, end) });
      at = end;
    }
    parts = at < all.length ? [all.subarray(at)] : [];
    length = all.length - at;
    return frames;
  };
}

/** The bytes of one frame. */
export function frame(letter: string, id: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(HEAD_BYTES - 4 + payload.length, 0);
  head.write(letter, 4, "latin1");
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

/** Values one after the other, each behind its length. */
export function fields(values: readonly (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [];
  for (const value of values) {
    const bytes = typeof value === "string" ? Buffer.from(value) : value;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}

/** The values that `fields` packed. */
export function list(payload: Buffer): Buffer[] {
  const values: Buffer[] = [];
  for (let at = 0; at < payload.length;) {
    const end = at + 4 + payload.readUInt32BE(at);
    values.push(payload.subarray(at + 4, end));
    at = end;
  }
  return values;
}
